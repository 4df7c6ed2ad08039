"""Lesson 12: Domain shift."""
