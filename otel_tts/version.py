"""The version, which is also the version of the instrumentation scope."""

__version__ = "0.1.0"
