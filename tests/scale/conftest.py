"""One cluster for all tests here: those of readers come first and find nobody else's telemetry in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_tts.history import open_history
from otel_tts.settings import HistorySettings
from tests.history import test_sources
from tests.history.conftest import Source
from tests.scale.cluster import RECEIVES, Cluster, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Readers' tests come first; and the first test of all waits for a dozen programs to start."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here in item.path.parents and item.path.name != "test_readers.py")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All tiers; whoever kills a member starts it again."""
    with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def source(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Thanos, in the place of the sources of tests/history; the tests' day begins after its first sample."""
    monkeypatch.setattr(test_sources, "START", time.time() // 60 * 60 - 5400.0)
    history = open_history(HistorySettings.load({}, prometheus_url=cluster.prometheus))
    url = f"http://{RECEIVES[0]}:{cluster.ports['receive']}/api/v1/otlp"
    return Source(history, tmp_path, url, prometheus_url=cluster.prometheus)
