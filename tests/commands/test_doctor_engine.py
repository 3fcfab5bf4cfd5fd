"""`doctor` knows the engine behind an address, and names the flag that it lacks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.engine import MetricsEngine, engine, lacking
from otel_tts.commands.doctor.finding import HopBrokenError
from otel_tts.commands.doctor.telemetry import Counter
from otel_tts.settings import DoctorSettings

GOOD = {"service_name": "speech", "service_version": "1", "job": "speech", "instance": "a"}
UNSUFFIXED = "tts[._]"
STORES: dict[str, Any] = {"/api/v1/stores": {"receive": []}}
PROMETHEUS = {
    "/api/v1/status/buildinfo": {"version": "3.14.0", "revision": "x", "goVersion": "go1.26"},
    "/api/v1/status/flags": {
        "web.enable-otlp-receiver": "true",
        "enable-feature": "exemplar-storage,created-timestamp-zero-ingestion",
    },
}
MIMIR = {"/api/v1/status/buildinfo": {"application": "Grafana Mimir", "version": "3", "revision": "x", "goVersion": "go1.26"}}
VICTORIA = {"/api/v1/status/buildinfo": {"version": "2.24.0"}}


@contextmanager
def answering(
    data: Mapping[str, Any],
    labels: Mapping[str, str] | None,
    unsuffixed: bool = False,
    unpromoted: str = "",
    scraped: bool = False,
) -> Iterator[Server]:
    """An engine that has these data at its paths, and one series of ours with these labels. unpromoted: what its process has, too."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body: Any = data.get(url.path)
            if url.path == "/api/v1/query":
                [query] = parse_qs(url.query)["query"]
                is_unsuffixed = UNSUFFIXED in query
                there = unsuffixed if is_unsuffixed else labels is not None
                if "target_info" in query:
                    there = bool(unpromoted) and f'{unpromoted.replace(".", "_")}!=""' in query
                if query.endswith("up)"):
                    there = scraped and 'service_name=""' in query and "service_name" not in (labels or {})
                body = {"result": [{"metric": labels or {}, "value": [0, "1"]}] if there else []}
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "success", "data": body}).encode() if body is not None else b"not found")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings = DoctorSettings.load({"OTEL_TTS_PROMETHEUS_URL": f"http://127.0.0.1:{server.server_port}"})
        yield Server(settings.prometheus, "start it")
        server.shutdown()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (STORES, MetricsEngine.THANOS),
        (PROMETHEUS, MetricsEngine.PROMETHEUS),
        (MIMIR, MetricsEngine.MIMIR),
        (VICTORIA, MetricsEngine.VICTORIA),
        ({}, MetricsEngine.OTHER),
        ({"/api/v1/status/buildinfo": "x"}, MetricsEngine.OTHER),
    ],
)
def test_the_engine_is_known(data: Mapping[str, Any], kind: MetricsEngine) -> None:
    """By what only it answers; and with all that is needed, nothing is said to be missing."""
    with answering(data, GOOD) as server:
        assert engine(server) is kind
        assert lacking(server) == []


@pytest.mark.parametrize(
    ("data", "flag"),
    [
        (PROMETHEUS, "translation_strategy: UnderscoreEscapingWithSuffixes"),
        (MIMIR, "-distributor.otel-metric-suffixes-enabled"),
        (VICTORIA, "-opentelemetry.usePrometheusNaming"),
    ],
)
def test_suffixes(data: Mapping[str, Any], flag: str) -> None:
    """Metrics that are there without their units."""
    with answering(data, None, unsuffixed=True) as server:
        [sentence] = lacking(server)
        assert flag in sentence
        assert "without units and suffixes" in sentence


def test_the_exact_path() -> None:
    """Thanos without any metric of ours."""
    with answering(STORES, None) as server:
        [sentence] = lacking(server)
        assert "METRICS_OTLP_ENDPOINT" in sentence


@pytest.mark.parametrize(
    ("data", "flag"),
    [
        (PROMETHEUS, "promote_resource_attributes: [{}]"),
        (STORES, "--receive.otlp-promote-resource-attributes={}"),
        (MIMIR, "-distributor.otel-promote-resource-attributes={}"),
        ({}, "does not promote {}."),
    ],
)
@pytest.mark.parametrize("attribute", ["service.version", "service.namespace", "deployment.environment.name", "k8s.cluster.name"])
def test_promoted_attributes(data: Mapping[str, Any], flag: str, attribute: str) -> None:
    """Series that do not say whose they are: of which version, in which cluster."""
    labels = {name: value for name, value in GOOD.items() if name != "service_version"}
    flag = flag.format(attribute)
    with answering(data, labels, unpromoted=attribute) as server:
        [sentence] = lacking(server)
        assert flag in sentence


def test_a_service_without_a_version() -> None:
    """No engine can promote what the service does not say: nothing is lacking."""
    labels = {name: value for name, value in GOOD.items() if name != "service_version"}
    with answering(PROMETHEUS, labels, unpromoted="") as server:
        assert lacking(server) == []


@pytest.mark.parametrize("data", [PROMETHEUS, MIMIR, VICTORIA])
def test_a_scrape_that_names_no_service(data: Mapping[str, Any]) -> None:
    """What a scrape lacks is a label of its target; no engine could promote it. With the label nothing is lacking."""
    labels = {name: value for name, value in GOOD.items() if not name.startswith("service")}
    with answering(data, labels, scraped=True) as server:
        [sentence] = lacking(server)
        assert "The job 'speech' is scraped without a label service_name" in sentence
        assert "promote" not in sentence
    with answering(data, labels | {"service_name": "speech"}, scraped=True) as server:
        assert lacking(server) == []


def test_processes_that_cannot_be_told_apart() -> None:
    """Series without job and instance."""
    labels = {name: value for name, value in GOOD.items() if name.startswith("service")}
    with answering(VICTORIA, labels) as server:
        [sentence] = lacking(server)
        assert "no label job and instance" in sentence


def test_flags_of_prometheus() -> None:
    """It tells its own."""
    flags = {"web.enable-otlp-receiver": "false", "enable-feature": "exemplar-storage"}
    with answering({**PROMETHEUS, "/api/v1/status/flags": flags}, GOOD) as server:
        receiver, feature = lacking(server)
        assert "--web.enable-otlp-receiver" in receiver
        assert "--enable-feature=created-timestamp-zero-ingestion" in feature


def test_a_request_of_a_clock_that_is_ahead_is_said_to_be_so() -> None:
    """Its metrics were refused: the finding is the clock, not an export that did not increase."""
    with answering(PROMETHEUS, GOOD) as server:
        start = time.time() + 1200
        request = SimpleNamespace(start=start, end=start + 1, outcome="ok", service="speech")
        with pytest.raises(HopBrokenError, match=r"20 min ahead of this clock") as broken:
            Counter(server).has_counted(request, time.monotonic() + 5)  # type: ignore[arg-type]
        assert "NTP" in str(broken.value.__dict__) + str(broken.value.args)
        request = SimpleNamespace(start=start - 1190, end=start - 1189, outcome="ok", service="speech")
        with pytest.raises(HopBrokenError, match="did not increase"):  # clocks of machines that are kept together differ a little
            Counter(server).has_counted(request, time.monotonic())  # type: ignore[arg-type]
