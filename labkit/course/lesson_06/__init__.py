"""Lesson 06: Full fine-tuning."""
