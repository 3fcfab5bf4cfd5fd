"""The readers' own tests over Thanos with three copies of each sample, and over Jaeger on three nodes of Cassandra."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.engine import MetricsEngine, engine, lacking
from otel_tts.settings import DoctorSettings
from tests.commands.conftest import OTEL_TTS
from tests.e2e.test_history import *  # noqa: F403 - all of its tests, over the fixture below
from tests.e2e.test_history import Both, _both
from tests.history.test_sources import *  # noqa: F403 - all of its tests, over `source` of this directory
from tests.scale.cluster import Cluster
from tests.scale.microseconds import Microseconds

del globals()["test_history_begins_with_the_earliest_of_all_files"]  # is about the names of local files
del globals()["test_commands_read_both"]  # compares nanoseconds of files with what is printed of Cassandra's microseconds


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def both(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Local files and the cluster, which got the same by a gateway."""
    for both in _both(cluster, tmp_path_factory, cluster.traces, "jaeger"):  # type: ignore[arg-type]
        yield replace(both, local=Microseconds(both.local))


def test_doctor_knows_thanos(both: Both) -> None:
    """By its list of stores; and with the flags of docs/scaling.md it lacks nothing."""
    server = Server(DoctorSettings.load(both.environ).prometheus, "")
    assert engine(server) is MetricsEngine.THANOS
    assert lacking(server) == []


def test_commands_read_the_cluster(both: Both) -> None:
    """`otel-tts requests` and `otel-tts trace`, as against any other Prometheus and Jaeger."""
    environ = {**os.environ, **both.environ}

    def output(*arguments: str) -> str:
        return subprocess.run([*OTEL_TTS, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=True).stdout

    partial = json.loads(output("requests", "--outcome", "partial", "--json"))["requests"]
    assert [request["outcome"] for request in partial] == ["partial", "partial"]
    assert "partial" in output("trace", partial[0]["trace_id"][:12])
