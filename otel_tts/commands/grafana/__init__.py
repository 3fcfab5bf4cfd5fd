"""``otel-tts grafana``: the dashboards, for a Grafana of one's own."""
