"""`--json`: what commands print for programs has one form with a version, and says what they print for people."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import grpc
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from otel_tts.cli import main
from otel_tts.commands.config import in_force
from otel_tts.commands.output import plain
from otel_tts.distribution import AtLeast
from otel_tts.history.cardinality import Cardinality, MetricSeries
from otel_tts.history.requests import Request
from otel_tts.history.traces import Event, Link, Span
from otel_tts.report.drift import Finding
from otel_tts.semconv import Outcome
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.commands.conftest import Served, until
from tests.commands.test_requests import run
from tests.ports import free_port


def content(result: Result, command: str) -> dict[str, Any]:
    """The fields beside the two that every object has."""
    whole: dict[str, Any] = json.loads(result.stdout)
    assert (whole.pop("version"), whole.pop("command")) == (1, command)
    assert sorted(set(keys(whole)) - documented(command).keys()) == [], "docs/json.md lacks them"
    return whole


PAGE = Path(__file__).parents[2] / "docs" / "json.md"
ANYTHING = {"attributes", "labels", "figures"}
"""Objects whose keys are names of something else, which other pages list."""


def documented(command: str) -> dict[str, str]:
    """The keys of a command on its page, with the unit of each."""
    section = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    (rows,) = (part for part in section if part.startswith(f"{command}\n"))
    return dict(re.findall(r"^\| `([^`]+)` \| .+ \| ([^|]+) \|$", rows, re.MULTILINE))


def keys(value: Any, path: str = "") -> Iterator[str]:
    """All keys that are printed, in the form of the page."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (name := f"{path}.{key}".lstrip("."))
            if key not in ANYTHING:
                yield from keys(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]")


@pytest.mark.parametrize(
    ("command", "prefix", "kind"),
    [
        ("requests", "requests[].", Request), ("trace", "spans[].", Span), ("trace", "spans[].events[].", Event),
        ("trace", "spans[].links[].", Link), ("report", "windows[].judgement.findings[].", Finding),
        ("report compare", "judgement.findings[].", Finding), ("cardinality", "metrics[].", MetricSeries), ("cardinality", "", Cardinality),
    ],
)  # fmt: skip
def test_the_page_has_every_field(command: str, prefix: str, kind: type) -> None:
    """What a command prints of an object is on its page, and the page has nothing that is gone."""
    names = {field.name for field in dataclasses.fields(kind)} - {"children", "own"}
    listed = {key.removeprefix(prefix) for key in documented(command) if key.startswith(prefix)}
    assert names <= listed
    if prefix:
        assert {name for name in listed if not set(name) & set(".[")} - names <= {"depth", "attributes"}


def test_every_command_that_prints_json_is_on_the_page() -> None:
    """A section for each, and no other."""
    printing = {name for name, command in below("", main) if any("--json" in option.opts for option in command.params)}
    assert printing == set(re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.MULTILINE))


def test_what_commands_print_for_people_they_print_as_json() -> None:
    """A command without `--json` runs something or writes files: its lines are progress, and no result."""
    silent = {name for name, command in below("", main) if not any("--json" in option.opts for option in command.params)}
    groups = {"grafana", "report reference"}
    assert silent - groups == {"demo", "run", "serve", "live", "rules", "grafana export", "grafana push", "report reference save"}


def test_the_list_of_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their names, for people and in JSON; without any, people are told how to make one."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    assert content(run("report", "reference", "list", "--json"), "report reference list") == {"profiles": []}
    assert "otel-tts report reference save NAME" in run("report", "reference", "list").output
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "good.json.gz").touch()
    assert content(run("report", "reference", "list", "--json"), "report reference list") == {"profiles": ["good"]}
    assert run("report", "reference", "list").output == "good\n"


def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The commands below a group, however deep, by their whole names; a group is one, too."""
    context = click.Context(main)
    for part in command.list_commands(context) if isinstance(command, click.Group) else ():
        inner = command.get_command(context, part)  # type: ignore[attr-defined]
        assert inner is not None
        full = f"{name} {part}".strip()
        yield full, inner
        yield from below(full, inner)


def test_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting with its value and where it comes from, as in the table, and nothing secret."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")
    result = run("config", "--json")
    settings = content(result, "config")["settings"]
    assert [tuple(setting.values()) for setting in settings] == list(in_force(os.environ))
    assert "hunter2" not in result.stdout


def test_config_lists_the_methods_of_a_mapping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For people and in JSON, so that a name can be compared with the service's; a mapping that cannot be used ends with its reason."""
    assert content(run("config", "--json"), "config")["grpc_methods"] == []
    mapping = tmp_path / "map.toml"
    mapping.write_text('["acme.v1.Speech/Say"]\nrequest.text = "text"\nresponse.audio = "audio"\n', "utf-8")
    monkeypatch.setenv("OTEL_TTS_GRPC_MAPPING", str(mapping))
    assert content(run("config", "--json"), "config")["grpc_methods"] == ["acme.v1.Speech/Say"]
    assert "gRPC methods of the mapping: acme.v1.Speech/Say" in run("config").output
    mapping.write_text('["acme.v1.Speech/Say"]\nrequest.txt = "text"\n', "utf-8")
    result = run("config")
    assert result.exit_code == 1
    assert "there is no such key" in result.output


def test_requests_and_trace(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest request, and the spans of its trace, parents first, with ids, times and attributes; without an id, of that request."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(served.data_dir))
    with grpc.insecure_channel(served.target) as channel:
        tts_pb2_grpc.TextToSpeechStub(channel).Synthesize(tts_pb2.SynthesizeRequest(text="A text for programs.", voice="heart"))

    def is_whole() -> bool:  # other tests speak to this service, too
        requests = content(run("requests", "--json", "--limit", "1"), "requests")["requests"]
        return (
            bool(requests)
            and any(span["name"].endswith("/Synthesize") for span in content(run("trace", "--json"), "trace")["spans"])
            and requests[0]["characters"] == len("A text for programs.")
        )

    until(is_whole)
    [newest] = content(run("requests", "--json", "--limit", "1"), "requests")["requests"]
    document = content(run("trace", newest["trace_id"], "--json"), "trace")
    assert document["trace_id"] == newest["trace_id"]
    spans = {span["span_id"]: span for span in document["spans"]}
    for span in document["spans"]:
        parent = spans.get(span["parent_id"])
        assert span["depth"] == (0 if parent is None else parent["depth"] + 1)
    synthesis = next(span for span in document["spans"] if span["name"] == "tts.synthesize")
    assert synthesis["attributes"]["tts.outcome"] == newest["outcome"]
    assert content(run("trace", "--json"), "trace") == document


def test_a_trace_of_nothing() -> None:
    """Without an id and without any request, the message says what to do."""
    result = run("trace")
    assert result.exit_code == 1
    assert "There is no request yet in local files in" in result.output


def test_verify(served: Served) -> None:
    """Both sides of each number, and whether the service counted exactly; a difference still ends with 1."""
    options = ("--iterations", "5", "--seed", "3", "--target", served.target, "--metrics-url", served.metrics_url)
    result = run("verify", "--json", *options)
    document = content(result, "verify")
    assert (document["exact"], document["problem"], document["requests"]) == (True, "", 5)
    requests = [
        number
        for number in document["numbers"]
        if number["metric"] == "tts.synthesis.duration" and number["measure"] == "requests"
    ]
    assert sum(number["least"] for number in requests) == 5
    assert all(number["agrees"] and number["counted"] == number["least"] == number["most"] for number in requests)


def test_doctor() -> None:
    """Each hop with its state, and the exit code of the first that is broken."""
    nowhere = f"127.0.0.1:{free_port()}"
    addresses = [f"--{name}-url=http://{nowhere}" for name in ("collector", "prometheus", "jaeger", "grafana")]
    result = run("doctor", "--json", "--target", nowhere, "--patience", "0", *addresses)
    document = content(result, "doctor")
    assert (result.exit_code, document["exit_code"]) == (3, 3)
    assert [hop["hop"] for hop in document["hops"]] == ["service", "Collector", "metrics", "traces", "Grafana"]
    assert document["hops"][0]["state"] == "broken"
    assert document["hops"][0]["remedy"]


@dataclasses.dataclass
class Thing:
    value: Any


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | inner.map(Thing)))
def test_whatever_is_found_can_be_read_by_a_strict_reader(value: Any) -> None:
    """No NaN, no infinity and no type that JSON lacks is ever printed."""
    json.loads(json.dumps(plain(value), allow_nan=False), parse_constant=pytest.fail)


def test_what_is_unknown_is_null() -> None:
    """NaN is no number of JSON; enums are their values, and a bound is a number."""
    assert plain({"a": math.nan, "b": Outcome.OK, "c": AtLeast(2.5), "d": (1, True)}) == {
        "a": None,
        "b": "ok",
        "c": 2.5,
        "d": [1, True],
    }
