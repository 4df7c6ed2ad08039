"""Lesson 10: Catastrophic forgetting."""
