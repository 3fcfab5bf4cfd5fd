"""Tests of what a request is for."""

from __future__ import annotations

import logging

import pytest

from otel_tts.core import purpose


def test_surplus_attributes_cost_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Of many attributes the first are kept, and all the others together are one line in the log."""
    caplog.set_level(logging.DEBUG, logger="otel_tts")
    kept = purpose.NONE.with_(None, None, {f"app.key{number}": number for number in range(1_000)}).attributes
    assert list(kept) == [f"app.key{number}" for number in range(32)]
    assert [record.getMessage() for record in caplog.records] == ["Attributes of a request were left out: at most 32 are kept."]
