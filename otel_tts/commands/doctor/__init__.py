"""``otel-tts doctor``: whether telemetry comes through, hop by hop."""
