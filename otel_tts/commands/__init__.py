"""The subcommands of ``otel-tts``, one module each; the table of them is in :mod:`otel_tts.cli`."""
