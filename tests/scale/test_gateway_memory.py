"""A gateway's memory under many large bodies at once, with no Collector behind it, against what Compose allows it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.test_collector_memory import STRICT, STRICT_LIMIT, many, spans


def test_with_strict_limits_more_fit(tmp_path: Path) -> None:
    """With the limits that docs/pipeline.md gives for many senders, 64 of the largest bodies fit."""
    statuses = many(tmp_path, "gateway-1", spans(STRICT_LIMIT - 4096), 64, ("HTTP", "gRPC"), STRICT)
    assert set(statuses) <= {"503", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
