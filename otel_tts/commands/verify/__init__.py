"""``otel-tts verify``."""
