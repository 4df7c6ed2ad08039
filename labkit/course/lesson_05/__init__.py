"""Lesson 05: Partial fine-tuning."""
