"""Prometheus rules and Alertmanager routing, written from the conditions."""

from otel_tts.rules.routing import alertmanager
from otel_tts.rules.rules import FILES, prometheus

__all__ = ["FILES", "alertmanager", "prometheus"]
