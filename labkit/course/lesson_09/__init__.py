"""Lesson 09: Overfitting, underfitting, augmentation."""
