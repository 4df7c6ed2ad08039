"""Lesson 04: Feature extraction."""
