"""``python -m otel_tts.service``."""

from otel_tts.service.run import main

main()
