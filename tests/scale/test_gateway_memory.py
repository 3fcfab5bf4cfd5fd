"""A gateway's memory under many large bodies at once, with no Collector behind it, against what Compose allows it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.test_collector_memory import AT_ONCE, LIMIT, REFUSED, SENDERS, many, refused, spans


def test_as_many_of_the_largest_fit_into_its_memory(tmp_path: Path) -> None:
    """There is room for 64 of the largest bodies that it takes."""
    statuses = many(tmp_path, "gateway-1", spans(LIMIT - 4096), AT_ONCE, SENDERS)
    assert set(statuses) <= {"503", "UNAVAILABLE", "DEADLINE_EXCEEDED"}


def test_where_memory_is_short_every_signal_is_refused(tmp_path: Path) -> None:
    """By its own limiter, before it looks for a Collector."""
    refused(tmp_path, "gateway-1")


def test_bodies_that_are_too_large_are_refused_unread(tmp_path: Path) -> None:
    """As by the Collector."""
    assert set(many(tmp_path, "gateway-1", spans(4 * 2**20 - 4096), 16, SENDERS)) <= REFUSED
