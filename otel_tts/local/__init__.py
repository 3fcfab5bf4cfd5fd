"""The embedded store: telemetry as rotating OTLP/JSON files. `files` is their format, `store` their writer."""
