"""Both sources of history, fed with the same OTLP/JSON lines: local files, and a real Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from otel_tts import files, semconv
from otel_tts.history import History, open_history
from otel_tts.semconv import Instrument, Metric
from otel_tts.settings import HistorySettings

ROOT = Path(__file__).parents[2]
TRANSLATION = """
storage: {tsdb: {out_of_order_time_window: 1000d}}
otlp:
  promote_resource_attributes:
    [service.name, service.namespace, service.version, service.instance.id, deployment.environment.name, k8s.cluster.name]
"""

Attributes = Mapping[str, str | bool]
Totals = Mapping[tuple[Metric, tuple[tuple[str, str | bool], ...]], float | Sequence[int]]
"""For each metric and set of attributes, the total or level, or the number of values in each bucket: (up to 1, above), or the metric's."""


def tool(name: str) -> str:
    """The path of a program that `make tools` builds; without it the test is skipped, or fails where tools are required."""
    program_path = shutil.which(name, path=f"{ROOT / '.tools/bin'}{os.pathsep}{os.environ['PATH']}")
    if program_path is None:
        (pytest.fail if os.environ.get("REQUIRE_TOOLS") == "1" else pytest.skip)(f"{name} is not there: `make tools` builds it")
    return str(program_path)


@pytest.fixture(scope="session")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that takes OTLP."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as url:
        yield url


@contextmanager
def running_prometheus(directory: Path, otlp: str = "") -> Iterator[str]:
    """A Prometheus that takes OTLP, with further lines of its section ``otlp``: its URL."""
    program = tool("prometheus")
    (directory / "prometheus.yml").write_text(TRANSLATION + otlp)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    arguments = [
        "--config.file=prometheus.yml",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-otlp-receiver",
        "--enable-feature=created-timestamp-zero-ingestion",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], cwd=directory, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{url}/-/ready", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline, "Prometheus is not ready"
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


class Source:
    """One source, and a service of this test's own that writes to it: into files, or as OTLP/JSON to ``url``.

    ``prometheus_url``: where it is read, if that is not where it is written.
    """

    def __init__(
        self, history: History, directory: Path, url: str | None, service: str = "", prometheus_url: str | None = None
    ) -> None:
        self.history = history
        self.service = service or f"tts-{uuid.uuid4()}"
        self._directory = directory
        self._url = url
        self._prometheus_url = prometheus_url or (url and url.removesuffix("/api/v1/otlp/v1/metrics"))
        self._began: dict[str, float] = {}

    def begin(self, process: str, moment: float) -> None:
        """From now on a process counts since that moment; if not said, since shortly before its first export."""
        self._began[process] = moment

    def another(self) -> Source:
        """Another service."""
        return Source(self.history, self._directory, self._url, prometheus_url=self._prometheus_url)

    def selected(self, selection: str) -> Source:
        """The same, read only from processes with these resource attributes."""
        if self._prometheus_url is None:
            settings = HistorySettings.load({"OTEL_TTS_SELECT": selection}, data_dir=self._directory)
        else:
            settings = HistorySettings.load({"OTEL_TTS_SELECT": selection}, prometheus_url=self._prometheus_url)
        return Source(open_history(settings), self._directory, self._url, self.service, self._prometheus_url)

    def write(
        self,
        process: str,
        moment: float,
        totals: Totals,
        place: Mapping[str, str] = MappingProxyType({}),
        *,
        exponential: bool = False,
    ) -> None:
        """What a process exports at a moment. ``place``: further attributes of its resource. ``exponential``: its histograms are."""
        began = self._began.setdefault(process, moment - 5)
        content = export(self.service, process, began, moment, totals, place)
        line = json.dumps(_exponential(content) if exponential else content, separators=(",", ":")).encode()
        if self._url is None:
            writer = f"{process}-{began:.0f}-{zlib.crc32(repr(sorted(place.items())).encode())}"  # whoever begins anew is another writer
            path = files.partition(self._directory, "metrics", moment, writer, 0).path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(line + b"\n")
        else:
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(self._url, line, headers), timeout=10).close()


@pytest.fixture(params=["files", "prometheus"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """Each source in turn."""
    if request.param == "files":
        return Source(open_history(HistorySettings.load({}, data_dir=tmp_path)), tmp_path, None)
    url = request.getfixturevalue("prometheus_url")
    return Source(open_history(HistorySettings.load({}, prometheus_url=url)), tmp_path, f"{url}/api/v1/otlp/v1/metrics")


def export(
    service: str, process: str, began: float, moment: float, totals: Totals, place: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """An OTLP/JSON export request."""
    resource_attributes = {"service.name": service, "service.version": "1.2", "service.instance.id": process, **place}
    metrics = []
    for (metric, attributes), value in totals.items():
        point: dict[str, Any] = {
            "attributes": [_attribute(*item) for item in attributes],
            "startTimeUnixNano": str(int(began * 1000) * 1_000_000),
            "timeUnixNano": str(int(moment * 1000) * 1_000_000),
        }
        if isinstance(value, Sequence):
            bounds = metric.buckets if len(value) == len(metric.buckets) + 1 else [1.0]
            point |= {"count": str(sum(value)), "sum": 1.0, "bucketCounts": list(map(str, value)), "explicitBounds": bounds}
            data: dict[str, Any] = {"histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}
        else:
            point["asDouble"] = value
            data = {"gauge": {"dataPoints": [point]}}
            if metric.instrument is not Instrument.GAUGE:
                monotonic = metric.instrument is Instrument.COUNTER
                data = {"sum": {"aggregationTemporality": 2, "isMonotonic": monotonic, "dataPoints": [point]}}
        metrics.append({"name": metric.name, "unit": metric.unit, **data})
    resource = {"attributes": [_attribute(*item) for item in resource_attributes.items()]}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": {"name": semconv.SCOPE}, "metrics": metrics}]}]}


def _attribute(key: str, value: str | bool) -> dict[str, Any]:
    return {"key": key, "value": {"boolValue": value} if isinstance(value, bool) else {"stringValue": value}}


def _exponential(exported: dict[str, Any]) -> dict[str, Any]:
    """The same with exponential histograms, all of their values in one bucket."""
    for metric in exported["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]:
        if data := metric.pop("histogram", None):
            for point in data["dataPoints"]:
                del point["bucketCounts"], point["explicitBounds"]
                point |= {"scale": 0, "zeroCount": "0", "positive": {"offset": -1, "bucketCounts": [point["count"]]}}
            metric["exponentialHistogram"] = data
    return exported
