"""Lesson 08: Gradual unfreezing."""
