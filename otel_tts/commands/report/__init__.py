"""``otel-tts report``: the batch job, as people run it."""
