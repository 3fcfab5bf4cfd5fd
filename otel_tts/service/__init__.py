"""The reference text-to-speech service: the first user of the library."""

from otel_tts.service.config import ServiceConfig
from otel_tts.service.server import PortTakenError, RunningService, serve

__all__ = ["PortTakenError", "RunningService", "ServiceConfig", "serve"]
