"""`otel-tts status`: what is wrong now, for people and for whatever reads its exit code."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import pytest
from click.testing import CliRunner, Result

from otel_tts import PCM16, Telemetry, files, formatting, semconv
from otel_tts.cli import main
from otel_tts.commands.status import CheckState
from tests.commands.test_json import documented, keys
from tests.history.conftest import Totals, export
from tests.live.test_standing import Service, holding


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")


def run(*arguments: str, **environ: str) -> Result:
    """The command, in a wide terminal."""
    return CliRunner().invoke(main, ["status", *arguments], env={"COLUMNS": "160", **environ})


def test_nothing_known_is_not_nothing_wrong() -> None:
    """Without telemetry, and with a source that is away, the state is unknown."""
    result = run()
    assert result.exit_code == CheckState.UNKNOWN
    assert "Unknown: there are no metrics" in result.output
    result = run(OTEL_TTS_PROMETHEUS_URL="http://127.0.0.1:9")
    assert result.exit_code == CheckState.UNKNOWN
    assert "Unknown: Prometheus at http://127.0.0.1:9 does not answer" in result.stdout  # which is what a check shows


@pytest.mark.parametrize(("failed", "state"), [(0, CheckState.OK), (2, CheckState.OK), (30, CheckState.CRITICAL)])
def test_the_exit_code_is_that_of_a_check(tmp_path: Path, failed: int, state: CheckState) -> None:
    """0 when nothing is wrong, 2 when somebody is woken; the condition says all that there is to know."""
    service = Service(tmp_path)
    request = {"provider": "piper", "stream": False, "cache": "miss"}
    service.values(semconv.SYNTHESIS_DURATION, 100 - failed, 0.1, outcome="ok", **request)
    service.values(semconv.SYNTHESIS_DURATION, failed, 0.1, outcome="error", **request)
    service.export()
    result = run()
    assert result.exit_code == state, result.output
    assert ("Nothing is wrong." in result.output) is (state is CheckState.OK)
    listed = json.loads(run("--json").stdout)
    assert listed["state"] == state.name.lower()
    assert set(keys(listed)) - documented("status").keys() == {"version", "command"}
    assert 0 <= listed["newest_telemetry_age_s"] < 60
    if state is CheckState.CRITICAL:
        assert "page    unknown_service:python: Only 70% of requests succeed" in result.output
        assert "over the last 2 min" in result.output
        assert re.search(r"began between ([\d-]+ \d\d:\d\d:[03]0 \S+) and ([\d-]+ \d\d:\d\d:\d\d \S+),", result.output), (
            result.output
        )
        assert re.search(
            "otel-tts requests --problem failed --service unknown_service:python --kind interactive --since [2-9]m", result.output
        ), result.output
        assert "#ttsrequestsfailing" in result.output
        (failing,) = (each for each in listed["conditions"] if each["name"] == "TTSRequestsFailing")
        assert (failing["service"], failing["severity"], failing["window_s"]) == ("unknown_service:python", "page", 120)


@pytest.mark.parametrize(("failed", "state"), [(1, CheckState.OK), (2, CheckState.OK), (3, CheckState.CRITICAL)])
def test_one_failed_request_wakes_nobody(tmp_path: Path, failed: int, state: CheckState) -> None:
    """A provider is down after three failed requests in a row, and well after the next good one: in status, and on the live page."""
    service = Service(tmp_path)
    tts = Telemetry(meter_provider=service.provider)

    def speak(error: Exception | None = None) -> None:
        with suppress(ConnectionError), tts.synthesis("hello") as synthesis, synthesis.attempt("piper") as attempt:
            if error is not None:
                raise error
            attempt.audio(bytes(4_800), PCM16(24_000))

    speak()
    for _ in range(failed):
        speak(ConnectionError())
    now = service.export()
    result = run()
    assert result.exit_code == state, result.output
    assert ("piper: No replica can use the provider" in result.output) is (state is CheckState.CRITICAL)
    assert ("TTSProviderDown" in holding(tmp_path, now)) is (state is CheckState.CRITICAL)
    speak()
    assert "TTSProviderDown" not in holding(tmp_path, service.export())
    assert run().exit_code == CheckState.OK


def test_what_can_wait_is_a_warning(tmp_path: Path) -> None:
    """A provider whose attempts fail while requests succeed."""
    service = Service(tmp_path)
    service.values(semconv.ATTEMPT_DURATION, 30, 0.1, provider="piper", outcome="error", reason="initial")
    service.values(semconv.SYNTHESIS_DURATION, 30, 0.1, provider="hibari", stream=False, cache="miss", outcome="ok")
    service.export()
    result = run()
    assert result.exit_code == CheckState.WARNING
    assert "ticket  unknown_service:python piper: Only 0% of attempts at the provider succeed" in result.output
    assert run("--service", "unknown_service:python").exit_code == CheckState.WARNING


def test_a_service_that_nobody_heard_of_is_unknown(tmp_path: Path) -> None:
    """A typing error in a check is no good news: the state is unknown, and the services that there are have names; so in JSON."""
    service = Service(tmp_path)
    service.values(semconv.SYNTHESIS_DURATION, 1, 0.1, provider="piper", stream=False, cache="miss", outcome="ok")
    service.export()
    assert run("--service", "unknown_service:python").exit_code == CheckState.OK
    result = run("--service", "nope")
    assert result.exit_code == CheckState.UNKNOWN
    assert "Unknown: no metrics of 'nope' within the last hour, only of unknown_service:python." in result.output
    assert "Nothing is wrong" not in result.output
    for environ, arguments, reason in (
        ({}, ("--service", "nope"), "only of unknown_service:python."),
        ({"OTEL_TTS_PROMETHEUS_URL": "http://127.0.0.1:9"}, (), "Prometheus at http://127.0.0.1:9 does not answer"),
    ):
        result = run("--json", *arguments, **environ)
        assert result.exit_code == CheckState.UNKNOWN
        document = json.loads(result.stdout)
        assert (document["state"], document["newest_telemetry_age_s"], document["conditions"]) == ("unknown", None, [])
        assert reason in document["reason"]


def test_the_services_that_there_are_have_names_whatever_they_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of services names also one whose requests are all in the background."""
    for name, kind in (("web", "interactive"), ("worker", "batch")):
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
        service = Service(tmp_path)
        with (
            Telemetry(meter_provider=service.provider).synthesis("A chapter.", kind=kind) as synthesis,
            synthesis.attempt("piper") as attempt,
        ):
            attempt.audio(bytes(4_800), PCM16(24_000))
        service.export()
    assert "Unknown: no metrics of 'nope' within the last hour, only of web, worker." in run("--service", "nope").output
    assert run("--service", "web").exit_code == run("--service", "worker").exit_code == CheckState.OK


def test_a_worker_for_which_nobody_waits_is_known(tmp_path: Path) -> None:
    """All its requests are of kind batch: status counts them with their outcomes, and the state is not unknown; so in JSON."""
    service = Service(tmp_path)
    tts = Telemetry(meter_provider=service.provider)
    for fails in (False, False, True):
        with (
            suppress(ConnectionError),
            tts.synthesis("A chapter.", kind="batch") as synthesis,
            synthesis.attempt("piper") as attempt,
        ):
            if fails:
                raise ConnectionError
            attempt.audio(bytes(4_800), PCM16(24_000))
    service.export()
    result = run("--service", "unknown_service:python")
    assert result.exit_code != CheckState.UNKNOWN, result.output
    assert "it had 3 requests in the background (2 ok, 1 error) and no other" in result.output
    assert "Unknown" not in result.output
    document = json.loads(run("--json", "--service", "unknown_service:python").stdout)
    assert (document["reason"], document["state"] == "unknown") == (None, False)
    assert "3 requests in the background" in document["notes"][0]
    assert run("--service", "nope").exit_code == CheckState.UNKNOWN


def test_of_a_selection_only_its_telemetry_counts(tmp_path: Path) -> None:
    """A cluster that nobody heard of is unknown, and one that fell silent is as old as its own telemetry, whoever else is well."""
    now = time.time()
    exports(tmp_path, "well", now - 300, (100, 200, 298), {"k8s.cluster.name": "eu"})
    exports(tmp_path, "gone", now - 9000, (10, 100, 200), {"k8s.cluster.name": "asia"})
    for arguments in ((), ("--service", "well")):
        assert run(*arguments, OTEL_TTS_SELECT="k8s.cluster.name=eu").exit_code == CheckState.OK
    for select, reason in (
        ("k8s.cluster.name=us", f"there are no metrics in local files in {tmp_path} (only k8s.cluster.name=us)."),
        ("k8s.cluster.name=asia", "nothing has been received for 2 h."),
        ("deployment.environment.name=eu", f"there are no metrics in local files in {tmp_path} (only "),
    ):
        result = run(OTEL_TTS_SELECT=select)
        assert result.exit_code == CheckState.UNKNOWN, result.output
        assert f"Unknown: {reason}" in result.output.replace("\n", " ")
        assert "Nothing is wrong" not in result.output
        age_s = json.loads(run("--json", OTEL_TTS_SELECT=select).stdout)["newest_telemetry_age_s"]
        assert (age_s is None) is ("no metrics" in reason)
        assert age_s is None or 8800 <= age_s < 8900


def test_a_dead_service_is_seen_beside_a_living_one(tmp_path: Path) -> None:
    """Whoever lives on hides nobody's silence, in the state of all and in its own."""
    begun = time.time() - 300
    exports(tmp_path, "dead", begun, (100, 110, 120))
    exports(tmp_path, "well", begun, (100, 200, 298))
    assert run("--service", "well").exit_code == CheckState.OK
    for arguments in ((), ("--service", "dead")):
        result = run(*arguments)
        assert result.exit_code == CheckState.CRITICAL, result.output
        assert "page    dead: A service that sent metrics within the hour sends none now" in result.output
        assert "well:" not in result.output
    (condition,) = json.loads(run("--json").stdout)["conditions"]
    assert (condition["name"], condition["service"]) == ("TTSTelemetryAbsent", "dead")
    assert condition["since"] == condition["since_earliest"] == formatting.utc(begun + 120)


@pytest.mark.parametrize(
    ("age_s", "state"), [(61, CheckState.OK), (100, CheckState.OK), (130, CheckState.CRITICAL), (3000, CheckState.CRITICAL)]
)
def test_silence_has_one_limit(age_s: int, state: CheckState, tmp_path: Path) -> None:
    """A service that exports once a minute is well between two exports; from two minutes on it is silent. There is no state between."""
    exports(tmp_path, "speech", time.time() - 300 - age_s, (10, 200, 300))
    result = run()
    assert result.exit_code == state, result.output
    assert "Unknown" not in result.output
    assert ("sends none now" in result.output) is (state is CheckState.CRITICAL)


def test_silence_of_more_than_an_hour_is_unknown(tmp_path: Path) -> None:
    """Nobody knows whether the service was stopped on purpose: what is known is the age of the newest telemetry."""
    exports(tmp_path, "speech", time.time() - 9000, (10, 100, 200))
    result = run()
    assert result.exit_code == CheckState.UNKNOWN
    assert "Unknown: nothing has been received for 2 h." in result.output


def exports(
    directory: Path, name: str, begun: float, after: tuple[int, ...], place: Mapping[str, str] = MappingProxyType({})
) -> None:
    """The local files of a service that began then, and exported after so many seconds. place: further attributes of its resource."""
    for number, seconds in enumerate(after, 1):
        moment = begun + seconds
        totals: Totals = {(semconv.SYNTHESIS_DURATION, (("tts.outcome", "ok"),)): [number, 0]}
        path = files.partition(directory, "metrics", moment, name + "".join(place.values()), 0).path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(export(name, name, begun, moment, totals, place)) + "\n")


def test_two_clusters_that_are_added_up_are_named(tmp_path: Path) -> None:
    """Of a service in several, for people and for programs; not where one is selected, nor of another service."""
    now = time.time()
    exports(tmp_path, "speech", now - 300, (100, 200, 298), {"k8s.cluster.name": "eu"})
    exports(tmp_path, "speech", now - 300, (100, 200, 298), {"k8s.cluster.name": "us"})
    exports(tmp_path, "well", now - 300, (100, 200, 298), {"k8s.cluster.name": "us"})
    sentence = "speech runs in 2 clusters (eu, us), which are added up here."
    assert f"{sentence} otel-tts --select NAME=VALUE reads one of them." in run().output
    assert json.loads(run("--json").stdout)["notes"] == [sentence]
    assert json.loads(run("--json", "--service", "well").stdout)["notes"] == []
    assert json.loads(run("--json", OTEL_TTS_SELECT="k8s.cluster.name=us").stdout)["notes"] == []
    assert "added up" not in run(OTEL_TTS_SELECT="k8s.cluster.name=us").output


def test_lines_are_whole_for_whatever_reads_them(tmp_path: Path) -> None:
    """In a pipe a sentence is a line, and an address is never broken, however narrow the terminal is; nor in one."""
    exports(tmp_path, "a-service-with-a-name-of-some-length", time.time() - 300, (100, 110, 120))
    lines = run(COLUMNS="60").output.splitlines()
    assert lines[0].startswith("CRITICAL: 1 page: a-service")
    assert lines[1] == "page    a-service-with-a-name-of-some-length: A service that sent metrics within the hour sends none now"
    assert any(re.fullmatch(r" {8}runbook: \S+#ttstelemetryabsent", line) for line in lines)
    assert lines == [line.rstrip() for line in lines]
    in_terminal = run(COLUMNS="60", FORCE_COLOR="1").output
    assert "\x1b[1;31mpage" in in_terminal
    assert re.search(r"runbook: \S+#ttstelemetryabsent", re.sub(r"\x1b\[[\d;]*m", "", in_terminal))


def test_a_clock_that_is_ahead_is_no_good_news(tmp_path: Path) -> None:
    """Telemetry of a time that has not come yet cannot be judged: the state is unknown and says why."""
    exports(tmp_path, "ahead", time.time() + 3000, (100, 110, 120))
    result = run()
    assert result.exit_code == CheckState.UNKNOWN, result.output
    assert re.search(r"Unknown: the newest telemetry is 5\d min ahead of this clock", result.output)
    assert "Nothing is wrong" not in result.output
    assert "ahead of this clock" in json.loads(run("--json").stdout)["reason"]


def test_a_clock_that_is_a_little_ahead_is_well(tmp_path: Path) -> None:
    """Seconds are nothing to tell anybody of."""
    exports(tmp_path, "ahead", time.time() - 200, (100, 200, 230))
    assert run().exit_code == CheckState.OK


def test_metrics_without_a_request_are_not_called_no_telemetry(tmp_path: Path) -> None:
    """Workers that are killed in their requests leave metrics and no span: the list says so, and does not send people to the demo."""
    exports(tmp_path, "speech", time.time() - 20, (1, 1, 1))
    result = CliRunner().invoke(main, ["requests"], env={"COLUMNS": "160"})
    assert re.search(
        r"No requests: there are metrics in local files in \S+, \d+ s old, and no span of a request\.", result.output
    )
    assert "no telemetry" not in result.output
