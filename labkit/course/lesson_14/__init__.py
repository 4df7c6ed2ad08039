"""Lesson 14: The clinic."""
