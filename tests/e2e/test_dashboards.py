"""Every query of the committed dashboards has an answer: from a Prometheus and a Jaeger that the service fed through the Collector."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from html import unescape
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import uuid4

import grpc
import pytest

from otel_tts import promql, semconv
from otel_tts.service.encoding import Encoding, encode
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.commands.conftest import serving
from tests.e2e.beside import beside
from tests.e2e.stack import ROOT, Stack, get, until
from tests.service.test_openai import Script, ScriptedServer, answer
from tools.pictures.answers import sources
from tools.pictures.drawing import page

SERVICE, COLLECTOR = "dashboards", "otelcol-tts"
PLACE = "deployment.environment.name=testing,k8s.cluster.name=there,service.namespace=speaking"
CHOSEN = {
    "service": SERVICE,
    "provider": ".*",
    "environment": ".*",
    "cluster": "there",
    "namespace": ".*",
    "collector": COLLECTOR,
    "window": "5m",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "5m",
}
"""What Grafana puts in place of a dashboard's variables: one service in one cluster, all providers."""
DASHBOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "dashboards").glob("*.json"))}
STEP = 1.0
"""Seconds between the points of a line; the last one may lie ahead, so that it has the newest sample."""
LABEL = re.compile(r"\{\{(\w+)\}\}")
RATE = 24000
PCM = b"".join(round(8000 * math.sin(i / 9)).to_bytes(2, "little", signed=True) for i in range(RATE // 2))  # half a second
WAV, SILENT = encode(PCM, RATE, Encoding.WAV), encode(b"", RATE, Encoding.WAV)


# --- what feeds them ---------------------------------------------------------------------------------------------------------


@dataclass
class Fed:
    """A stack with telemetry in it.

    since: when it began. traces: by kind of request, their ids.
    """

    stack: Stack
    since: float
    traces: dict[str, list[str]] = field(default_factory=dict)

    def over_time(self, expression: str) -> list[tuple[dict[str, str], list[float]]]:
        """What a range query gives, as Grafana asks it: the labels and the values of each series."""
        asked = {"query": expression, "start": str(self.since), "end": str(time.time() + STEP), "step": str(STEP)}
        return [
            (row["metric"], [float(value) for _, value in row["values"]]) for row in self._asked("query_range", **asked)["result"]
        ]

    def now(self, expression: str) -> list[tuple[dict[str, str], list[float]]]:
        """What an instant query gives, in the same form."""
        return [(row["metric"], [float(row["value"][1])]) for row in self._asked("query", query=expression)["result"]]

    def exemplars(self, expression: str) -> set[str]:
        """The trace ids of the exemplars of all series in an expression."""
        matches = self._asked("query_exemplars", query=expression, start=str(self.since), end=str(time.time()))
        return {exemplar["labels"]["trace_id"] for series in matches for exemplar in series["exemplars"]}

    def values(self, selector: str, label: str) -> set[str]:
        """The values of a label of the series selected."""
        return set(self._asked(f"label/{label}/values", **{"match[]": selector}))

    def _asked(self, what: str, **parameters: str) -> Any:
        response = get(f"{self.stack.prometheus}/api/v1/{what}", **parameters)
        assert response, f"Prometheus refuses {parameters}"
        return response["data"]


def halting(seconds: float) -> Script:
    """A script that stops for a while in the middle of the audio, for longer than the first part lasts."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "audio/wav")
        handler.send_header("Content-Length", str(len(WAV)))
        handler.end_headers()
        handler.wfile.write(WAV[: len(WAV) // 2])
        threading.Event().wait(seconds)
        with suppress(OSError):  # who went away reads no more
            handler.wfile.write(WAV[len(WAV) // 2 :])

    return script


@contextmanager
def engine() -> Iterator[ScriptedServer]:
    """A speech server that does as it is told."""
    with ScriptedServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


class Callers:
    """Who asks the service for everything that dashboards tell apart, and keeps the traces."""

    def __init__(self, channel: grpc.Channel, server: ScriptedServer, traces: dict[str, list[str]]) -> None:
        self._stub: Any = tts_pb2_grpc.TextToSpeechStub(channel)
        self._server = server
        self._traces = traces
        self.asked = 0

    def everything(self) -> None:
        """Each kind of request once, with texts that nobody sent before."""
        good = answer(200, WAV)
        self.ask("made", good)
        self.ask("made", good, stream=True, encoding=tts_pb2.AUDIO_ENCODING_MP3)
        self.ask("hit", good, again=True)
        self.ask("bypass", good, no_cache=True)
        self.ask("rejected", good, text="?!")
        self.ask("fallen back", answer(503))
        self.ask("fallen back", answer(503), stream=True)
        self.ask("own", good, provider="espeak", stream=True)
        self.ask("own", good, provider="espeak")
        self.ask("hit", good, provider="espeak", again=True)
        self.ask("error", answer(503), provider="openai", voice="joe")
        self.ask("empty", answer(200, SILENT), provider="openai")
        self.ask("partial", answer(200, WAV, missing=RATE), provider="openai", stream=True)
        self.ask("slow", halting(2.6), provider="openai", stream=True)
        self.ask("deadline", halting(1.0), provider="openai", timeout=0.5)
        self.ask("cancelled", halting(1.0), provider="openai", stream=True, after=2)

    def plenty(self) -> None:
        """So many of the quick ones, twice, that a 99th percentile is more than the slowest of them."""
        good = answer(200, WAV)
        for number in range(55):
            self.ask("made", good, stream=True, encoding=tts_pb2.AUDIO_ENCODING_MP3 if number % 4 == 0 else 0)
            self.ask("made" if number % 4 == 0 else "hit", good, again=bool(number % 4))

    def ask(
        self,
        kind: str,
        script: Script,
        *,
        text: str = "",
        again: bool = False,
        stream: bool = False,
        timeout: float = 30.0,
        after: int = 0,
        **fields: Any,
    ) -> None:
        """One request, while the speech server follows the script. again: the text of the one before. after: messages until cancelled."""
        self._server.script = lambda handler: answer(200)(handler) if handler.command == "GET" else script(handler)
        self.asked += 1
        number = self.asked - 2 if again else self.asked
        request = tts_pb2.SynthesizeRequest(text=text or f"Number {number}.", **fields)
        trace_id = uuid4().hex
        self._traces.setdefault(kind, []).append(trace_id)
        parent = (("traceparent", f"00-{trace_id}-{trace_id[:16]}-01"),)  # who goes away is not told its trace
        call = (self._stub.SynthesizeStream if stream else self._stub.Synthesize.future)(
            request, timeout=timeout, metadata=parent
        )
        with suppress(grpc.RpcError):
            for got, _ in enumerate(call if stream else [call.result()], 1):
                if got == after:
                    call.cancel()


@pytest.fixture(scope="session")
def fed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    """A stack with all that dashboards show: two rounds of traffic, since a rate has two ends, verdicts, drift, and the watchdog."""
    fed = Fed(stack, time.time())
    directory = tmp_path_factory.mktemp("service")
    prices = directory / "prices.toml"
    prices.write_text("[espeak]\nusd_per_million_characters = 4.0\n")
    with ExitStack() as closing:
        server = closing.enter_context(engine())
        environ = {
            **stack.service_environ,
            "OTEL_SERVICE_NAME": SERVICE,
            "OTEL_RESOURCE_ATTRIBUTES": PLACE,
            "TTS_PROVIDERS": "openai,espeak",
            "TTS_OPENAI_VOICES": "joe",
            "TTS_CIRCUIT_FAILURES": "1000",
            "TTS_CACHE_URL": "memory://?size=100000",  # room for few
            "OTEL_TTS_PRICES": str(prices),
            "TTS_OPENAI_BASE_URL": server.url,
        }
        served = closing.enter_context(serving(directory / "data", **environ))
        callers = Callers(closing.enter_context(grpc.insecure_channel(served.target)), server, fed.traces)
        others = (("verdicts", SERVICE), ("conversations", SERVICE), ("drift", "otel-tts-report"))
        besides = [beside(what, {**stack.service_environ, "OTEL_RESOURCE_ATTRIBUTES": PLACE}, name) for what, name in others]
        counted = f'{promql.count_series(semconv.RPC_DURATION)}{{service_name="{SERVICE}"}}'
        for _ in range(2):
            callers.everything()
            callers.plenty()
            until(lambda: stack.value(counted) == callers.asked, "all RPCs counted")
        assert [process.wait(60) for process in besides] == [0, 0, 0]
        until(lambda: stack.query('ALERTS{alertstate="firing"}'), "the watchdog", 60)
        yield fed


# --- their queries -----------------------------------------------------------------------------------------------------------


def shown(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard, those of collapsed rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard."""

    dashboard: str
    json: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.json['title']} ({self.json['type']})"

    def targets(self, kind: str) -> list[dict[str, Any]]:
        """What it asks of data sources of a kind."""
        return [target for target in self.json.get("targets", ()) if target["datasource"]["type"] == kind]


PANELS = [Panel(name, json) for name, dashboard in DASHBOARDS.items() for json in shown(dashboard)]


def panels(chosen: Callable[[Panel], object]) -> pytest.MarkDecorator:
    """A test for each of the panels chosen, by its name."""
    return pytest.mark.parametrize("panel", [panel for panel in PANELS if chosen(panel)], ids=str)


def filled(text: str) -> str:
    """A query with the values of variables in place of their names."""
    return re.sub(r"\$([a-z_]+)", lambda matches: CHOSEN[matches[1]], text)


def legend(form: str, labels: Mapping[str, str]) -> str:
    """The name of a series, as Grafana makes it."""
    return LABEL.sub(lambda matches: labels.get(matches[1], ""), form)


def test_there_are_dashboards() -> None:
    """The eight of them."""
    names = {"overview", "providers", "cache", "streaming", "conversations", "requests", "quality", "pipeline"}
    assert set(DASHBOARDS) == names


@panels(lambda panel: panel.targets("prometheus"))
def test_a_panel_shows_something(fed: Fed, panel: Panel) -> None:
    """Each of its queries gives series, of numbers only, that its legends tell apart."""
    legends: list[str] = []
    for target in panel.targets("prometheus"):
        expression = filled(target["expr"])
        series = fed.now(expression) if target.get("instant") else fed.over_time(expression)
        _, is_limit, bound = target["legendFormat"].rpartition("at least ")
        if is_limit:  # of what lies beyond the last bucket
            assert all(set(values) == {float(bound)} for _, values in series), expression
            continue
        assert series or panel.json["title"] == "Alerts firing", f"nothing: {expression}"
        assert all(math.isfinite(value) for _, values in series for value in values), expression
        wanted = LABEL.findall(target["legendFormat"])
        there = {label for labels, _ in series for label, value in labels.items() if value}
        assert set(wanted) - there == set(), f"labels of the legend that no series has: {expression}"
        if panel.json["type"] != "table":  # whose columns tell rows apart
            legends += [legend(target["legendFormat"], labels) for labels, _ in series]
    assert sorted(legends) == sorted(set(legends)), "series of the same name"


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_its_picture_has_everything(fed: Fed, dashboard: str) -> None:
    """What `make pictures` draws has every panel that is not collapsed, and a number or the reason for none in each."""
    matches = replace(sources(fed.stack.prometheus, fed.stack.traces, SERVICE, 5), start=fed.since)
    drawn = unescape(page(DASHBOARDS[dashboard], matches, "dark", ""))
    for panel in DASHBOARDS[dashboard]["panels"]:
        assert matches.filled(panel["title"]) in drawn
    assert drawn.count("Plotly.newPlot") == drawn.count('class="plot"')


@panels(lambda panel: any(target.get("exemplar") for target in panel.targets("prometheus")))
def test_its_dots_open_traces(fed: Fed, panel: Panel) -> None:
    """Its queries have exemplars, and the trace backend has the trace of one of them, with the request in it."""
    for target in panel.targets("prometheus"):
        if target["exemplar"]:
            matches = until(partial(fed.exemplars, filled(target["expr"])), "exemplars", 5)
            names = {
                span["name"] for trace_id in sorted(matches)[:1] for span in until(partial(fed.stack.spans, trace_id), "trace")
            }
            assert "tts.synthesize" in names


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_variables_offer_what_there_is(fed: Fed, dashboard: str) -> None:
    """Each choice has values, those of this test among them; sources of data are of a type that Grafana knows."""
    places = {"environment": {"testing"}, "cluster": {"there"}, "namespace": {"speaking"}}
    expected = {"service": {SERVICE}, "provider": {"openai", "espeak"}, "collector": {COLLECTOR}, **places}
    for variable in DASHBOARDS[dashboard]["templating"]["list"]:
        if variable["type"] == "query":
            form = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(variable["query"]["query"]))
            assert form
            assert fed.values(form[1], form[2]) >= expected[variable["name"]]
        else:
            assert (variable["type"], variable["query"]) in {
                ("datasource", "prometheus"),
                ("custom", "Jaeger : jaeger, Tempo : tempo"),
                ("interval", "5m,15m,1h,6h,1d"),
            }


# --- their searches for traces -----------------------------------------------------------------------------------------------


FOUND: Mapping[str, tuple[set[str], set[str]]] = {
    "Slow": ({"slow"}, set()),
    "Failed": ({"error"}, {"fallen back"}),
    "Missed their deadline": ({"deadline"}, set()),
    "Partial": ({"partial"}, set()),
    "Empty": ({"empty"}, set()),
    "Fallen back": ({"fallen back"}, set()),
}
"""The kinds of requests that each search is there to find, and those that Jaeger finds besides for what one of their attempts was."""


@panels(lambda panel: panel.targets("jaeger"))
def test_a_search_finds_the_traces_that_it_is_for(fed: Fed, panel: Panel) -> None:
    """Jaeger answers each search with the requests of those kinds, all of them and no other but those that the panel tells of."""
    kinds = FOUND[panel.json["title"].partition(":")[0]]
    wanted, besides = ({trace_id for kind in some for trace_id in fed.traces[kind]} for some in kinds)
    [target] = panel.targets("jaeger")
    matches = until(lambda: (matches := searched(fed, target)) >= wanted | besides and matches, panel.json["title"])
    assert matches == wanted | besides
    if besides:
        assert "Badger" in panel.json["description"]


def test_a_search_is_within_the_chosen_service(fed: Fed) -> None:
    """Of another service it finds nothing."""
    for panel in PANELS:
        for target in panel.targets("jaeger"):
            assert searched(fed, {**target, "service": "another"}) == set()


def searched(fed: Fed, target: Mapping[str, Any]) -> set[str]:
    """The traces that Jaeger finds, asked as Grafana's data source asks it."""
    tags = dict(tag.split("=", 1) for tag in target["tags"].split())
    asked = {
        "service": filled(target["service"]), "operation": target["operation"], "tags": json.dumps(tags) if tags else "",
        "minDuration": target["minDuration"], "limit": str(target["limit"]),
        "start": str(int(fed.since * 1e6)), "end": str(int((time.time() + 1) * 1e6)),
    }  # fmt: skip
    response = get(f"{fed.stack.traces}/api/traces", **{name: value for name, value in asked.items() if value})
    assert response, f"Jaeger refuses {asked}"
    assert not response["errors"]
    return {trace["traceID"] for trace in response["data"]}
