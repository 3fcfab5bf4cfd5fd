"""What is emitted is tested on both paths: the SDK's and the direct one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_tts.testing.capture import Capture, SessionProviders
from tests.direct import DirectCapture


@pytest.fixture(params=["sdk", "direct"])
def capture_tts(request: pytest.FixtureRequest, _tts_providers: SessionProviders) -> Iterator[Capture]:
    """Everything that TTS telemetry emits during one test, once over each path."""
    with (DirectCapture if request.param == "direct" else Capture)(_tts_providers) as capture:
        yield capture
