"""A provider in operation: its queue, its circuit, and the calls and probes that tell how it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from otel_tts import Telemetry
from otel_tts.service.circuit import Circuit
from otel_tts.service.config import ServiceConfig
from otel_tts.service.providers import Provider
from otel_tts.service.queue import RequestQueue
from otel_tts.service.speech import EngineRequest, InvalidInputError, UnsupportedError

_logger = logging.getLogger(__name__)
_INPUT_REFUSED = frozenset({400, 422})  # HTTP


def refuses_input(error: Exception) -> bool:
    """Whether a provider's exception is about what was asked, so that it says nothing about the provider's health.

    Args:
        error: what the provider raised.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(error, InvalidInputError | UnsupportedError) or status in _INPUT_REFUSED


class Engine:
    """One configured provider. ``changed`` is told whether it gets requests, after each piece of news of it.

    Args:
        provider: the provider.
        config: of the service.
        tts: the Telemetry that records.
        changed: is called with whether it gets requests, after each piece of news.
    """

    def __init__(self, provider: Provider, config: ServiceConfig, tts: Telemetry, changed: Callable[[bool], None]) -> None:
        state = tts.provider(provider.name)

        def news(available: bool) -> None:
            state.available(available)
            changed(available)

        self.provider = provider
        self.queue = RequestQueue(config.concurrency or provider.concurrency, config.queue_size)
        self.circuit = Circuit(config.circuit_failures, config.circuit_cooldown, news)
        self._tts = tts
        self._timeout = config.attempt_timeout
        self._cooldown = config.circuit_cooldown
        self._interval = config.probe_interval or None

    async def call(self, speech: EngineRequest) -> AsyncGenerator[bytes, None]:
        """The provider's audio, as it comes. Its end is news for the circuit; no audio at all is none: it is about the text.

        Args:
            speech: what is to be spoken.

        Raises:
            TimeoutError: no audio came for too long.
            Exception: whatever the engine raises.
        """
        spoke = False
        try:
            async with aclosing(self.provider.stream(speech)) as chunks:
                while True:
                    async with asyncio.timeout(self._timeout):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    spoke = True
                    yield chunk
        except Exception as error:
            if not refuses_input(error):
                self.circuit.failed()
            raise
        if spoke:
            self.circuit.succeeded()

    async def watch(self) -> None:
        """Probe the provider whenever that is due, until cancelled."""
        while True:
            due = self.circuit.probe_in(self._interval)
            if due:
                await asyncio.sleep(min(due, self._cooldown))  # its circuit may open meanwhile
            else:
                await self._probe()

    async def _probe(self) -> None:
        """A cheap question may open the circuit; once it is open, only speech closes it."""
        provider = self.provider
        speech = provider.makes_audio_to_check or not self.circuit.closed
        try:
            async with self._tts.probe(provider.name, provider.voices[0].model, remote=provider.remote):
                async with asyncio.timeout(self._timeout):
                    await (provider.check_speech() if speech else provider.check())
        except Exception as error:  # noqa: BLE001 - whatever the engine raises: it isn't well
            _logger.debug("A probe of %s failed: %s.", provider.name, type(error).__name__)
            self.circuit.failed()
        else:
            (self.circuit.succeeded if speech else self.circuit.responded)()
