"""Lesson 03: The data."""
