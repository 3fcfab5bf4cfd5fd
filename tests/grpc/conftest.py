"""What is emitted is tested on both paths: the SDK's and the direct one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_tts.core import outcome
from otel_tts.testing.capture import Capture, SessionProviders
from tests.direct import DirectCapture


@pytest.fixture(params=["sdk", "direct"])
def capture_tts(request: pytest.FixtureRequest, _tts_providers: SessionProviders) -> Iterator[Capture]:
    """Everything that TTS telemetry emits during one test, once over each path."""
    with (DirectCapture if request.param == "direct" else Capture)(_tts_providers) as capture:
        yield capture


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An RPC may be on its way for as long as half of its deadline: on a machine that has much to do, more than the usual 50 ms."""
    monkeypatch.setattr(outcome, "_TRANSIT_S", 3600.0)
