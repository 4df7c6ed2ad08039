"""Lesson 15: The same in fastai."""
