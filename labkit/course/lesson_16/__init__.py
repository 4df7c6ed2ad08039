"""Lesson 16: Capstone."""
