"""The checks of the lessons, one file each, found by the number of the lesson.

They test what an answer does on small random models and made-up numbers, never how it is written.
"""
