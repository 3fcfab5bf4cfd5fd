"""Tests of the statuses that ASGI applications send."""

from __future__ import annotations

import logging

import pytest

from otel_tts.core import outcome
from otel_tts.core.enclosure import Enclosure
from otel_tts.instrumentation.asgi import _note_status


@pytest.mark.parametrize(("status", "is_failure"), [(200, False), ("200", False), (503, True), ("503", True)])
def test_a_status_may_be_a_str(status: object, is_failure: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A status sent as a str, which servers answer, is noted as the number is, and nothing is logged."""
    enclosure = Enclosure()
    _note_status(enclosure, {"type": "http.response.start", "status": status})
    assert (enclosure.host_failure.cause is outcome.ERROR) is is_failure
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
