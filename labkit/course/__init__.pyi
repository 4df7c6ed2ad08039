from labkit.course.recorded import evidence

__all__ = ["evidence"]
