"""Lesson 11: Evaluate and iterate."""
