"""``otel-tts demo``: a real service with real engines, traffic for it, and what its telemetry tells of that."""
