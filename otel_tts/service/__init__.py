"""The reference text-to-speech service: the first user of the library."""

from otel_tts.service.config import ServiceConfig
from otel_tts.service.server import PortTakenError, Service, serve

__all__ = ["PortTakenError", "Service", "ServiceConfig", "serve"]
