"""The monitor: conditions judged inside the process, told in its log when they begin and when they are over."""

from otel_tts.monitor.monitor import Monitor

__all__ = ["Monitor"]
