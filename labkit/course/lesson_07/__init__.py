"""Lesson 07: Learning rates."""
