"""Lesson 01: Why fine-tune?."""
