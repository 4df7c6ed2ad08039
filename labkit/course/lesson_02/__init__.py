"""Lesson 02: The pre-trained model."""
