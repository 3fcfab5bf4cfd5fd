"""Zero code: telemetry for services, engines and SDKs that were never changed."""

NAME = "otel_tts"
"""The name of both entry points, the distribution's and the configurator's."""
