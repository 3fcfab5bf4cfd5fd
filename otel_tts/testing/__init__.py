"""The pytest plugin: a fixture ``capture_tts`` with which a team tests its own telemetry.

::

    def test_a_greeting_is_spoken_by_piper(capture_tts):
        serve_one_request("Hello")
        synthesis = capture_tts.synthesis(outcome="ok")
        assert [attempt.provider for attempt in synthesis.attempts] == ["piper"]
        assert capture_tts.total("tts.synthesis.requests", {"tts.outcome": "ok"}) == 1

It works with a :class:`otel_tts.Telemetry` on the global providers, which it sets once a session where no others are set, and with one
made by :meth:`Capture.telemetry`. Loading the plugin imports nothing but pytest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from otel_tts.testing.capture import Capture, SessionProviders

__all__ = ["Capture", "capture_tts"]


def __getattr__(name: str) -> Any:
    if name == "Capture":  # for annotations, ``def test_x(capture_tts: Capture)``; heavy, so loaded by those who name it
        from otel_tts.testing.capture import Capture

        return Capture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@pytest.fixture(scope="session")
def _tts_providers() -> Iterator[SessionProviders]:
    from otel_tts.testing.capture import SessionProviders  # heavy, and only for those who use the fixture

    providers = SessionProviders()
    yield providers
    providers.shutdown()


@pytest.fixture
def capture_tts(_tts_providers: SessionProviders) -> Iterator[Capture]:
    """Everything that TTS telemetry emits during one test; faults of otel-tts itself are raised instead of logged.

    Args:
        _tts_providers: the providers of the session.
    """
    from otel_tts.testing.capture import Capture

    with Capture(_tts_providers) as capture:
        yield capture
