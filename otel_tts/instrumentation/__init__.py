"""Zero-code instrumentation: telemetry for services, engines and SDKs without changes to their code."""

NAME = "otel_tts"
"""The name of both entry points: that of the distribution and that of the configurator."""
