"""Lesson 13: What it costs."""
