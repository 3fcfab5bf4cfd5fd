"""The alerts fire when they should and only then: Prometheus's own unit tests, made from the conditions."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_tts.conditions import BY_NAME, CONDITIONS, Objectives
from otel_tts.promql import bucket_series, count_series
from otel_tts.promql.slo import REFERENCE, judged_first_audio_reference, recorded
from otel_tts.rules import FILES, prometheus
from otel_tts.semconv import SYNTHESIS_FIRST_AUDIO
from otel_tts.settings.judging import RUNBOOKS
from tests.e2e.stack import program
from tests.rules.scenes import PIPER, SCENES, SERVICE, Scene, State, available, first_audio, outcomes

ALERTS = [condition.name for condition in CONDITIONS if condition.query]


@pytest.fixture(scope="session")
def rule_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The generated files."""
    directory = tmp_path_factory.mktemp("rules")
    files = {name: directory / f"{name}.yml" for name in FILES}
    for name, path in files.items():
        path.write_text(prometheus(name))
    return files


@pytest.mark.parametrize("name", FILES)
def test_prometheus_accepts_the_rules(name: str, rule_files: dict[str, Path]) -> None:
    """Every lint of promtool's is fatal."""
    run = subprocess.run(
        [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", rule_files[name]], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_has_a_scene() -> None:
    """No alert goes unproven."""
    assert sorted(ALERTS) == sorted([*SCENES, "TTSWatchdog"])


@pytest.mark.timeout(300)  # three days, every five minutes
@pytest.mark.parametrize("name", SCENES)
def test_an_alert_fires_and_recovers(name: str, rule_files: dict[str, Path], tmp_path: Path) -> None:
    """It fires in the bad state until the good one; not just on the right side of its threshold, nor with too little traffic."""
    scene = SCENES[name]
    good, bad = (scene.good, scene.before), (scene.bad, scene.lasts)
    tests = [
        case(name, scene, [good, bad, (scene.good, scene.after)], [(1, True), (2, False)]),
        case(name, scene, [good, (scene.fine, scene.lasts)], [(1, False)]),
    ]
    if scene.thin is not None:
        tests.append(case(name, scene, [good, (scene.thin, scene.lasts)], [(1, False)]))
    assert (BY_NAME[name].minimum_traffic > 0) == (scene.thin is not None), "a minimum of traffic is to be proven"
    promtool(name, rule_files, scene.evaluated or scene.step, tests, tmp_path)


def test_the_watchdog_always_fires(rule_files: dict[str, Path], tmp_path: Path) -> None:
    """From the first evaluation on, without any telemetry."""
    scene = Scene(step=60, good={}, bad={}, fine={}, labels={})
    promtool("TTSWatchdog", rule_files, 60, [case("TTSWatchdog", scene, [({}, 1)], [(0, True)])], tmp_path)


def test_what_was_silent_for_a_while_is_not_new(rule_files: dict[str, Path], tmp_path: Path) -> None:
    """After telemetry was held up for minutes, failures of long ago are not those of now; a series' first ones are."""
    name = "TTSRequestsFailing"
    long_ago: State = outcomes(0, 30)
    silence: State = dict.fromkeys(long_ago)
    well: State = outcomes(10, 0)
    scene = Scene(step=15, good=well, bad=long_ago, fine=well)
    held_up = case(name, scene, [(long_ago, 20), (well, 40), (silence, 60), (well, 1)], [(1, False), (3, False)])
    fresh: State = {series: None if value else 0.0 for series, value in outcomes(0, 1).items()}
    first = case(name, scene, [(fresh, 40), (outcomes(0, 5), 1)], [(0, False), (1, True)])
    promtool(name, rule_files, scene.step, [held_up, first], tmp_path)


@pytest.mark.parametrize(("ended", "works"), [(1.0, 0.0), (0.0, 1.0)], ids=["fails in the new one", "failed in the old one"])
def test_a_replica_that_has_ended_says_nothing_of_a_provider(
    ended: float, works: float, rule_files: dict[str, Path], tmp_path: Path
) -> None:
    """After a deploy the new replica alone decides, within two minutes; that it differs from the old one is not a degraded provider."""
    for name in ("TTSProviderDown", "TTSProviderDegraded"):
        scene = SCENES[name]
        old: State = {key: ended if 'instance="a"' in key else None for key in available(0, 0)}
        new: State = {key: works if 'instance="b"' in key else None for key in available(0, 0)}
        fires = name == "TTSProviderDown" and not works
        phases = [(old, 20), (new, 9), *[(new, 1)] * 20]
        test = case(name, scene, phases, [(1, fires), *((number, fires) for number in range(2, 22))])
        promtool(name, rule_files, scene.step, [test], tmp_path)


def test_two_clusters_with_one_service_name_are_two_services(rule_files: dict[str, Path], tmp_path: Path) -> None:
    """One fails and the other does well, and has more traffic: the alert is for the first, and names it; the second hides nothing."""
    name = "TTSRequestsFailing"

    def of_cluster(cluster: str, state: State) -> State:
        return {series.replace("{", f'{{k8s_cluster_name="{cluster}", ', 1): value for series, value in state.items()}

    both: State = {**of_cluster("eu", outcomes(0, 10)), **of_cluster("us", outcomes(1000, 0))}
    labels = {"service_name": "speech", "k8s_cluster_name": "eu"}
    scene = Scene(step=15, good=both, bad=both, fine=both, labels=labels)
    promtool(name, rule_files, scene.step, [case(name, scene, [(both, 40)], [(0, True)])], tmp_path)
    summary = next(
        rule["annotations"]["summary"]
        for group in yaml.safe_load(rule_files["speech"].read_text())["groups"]
        for rule in group["rules"]
        if rule.get("alert") == name
    )
    assert "{{ with $labels.k8s_cluster_name }}{{ . }}/{{ end }}{{ $labels.service_name }}:" in summary


def test_a_short_silence_is_not_absence(rule_files: dict[str, Path], tmp_path: Path) -> None:
    """Three minutes are: two until it counts as silence, and one more."""
    name = "TTSTelemetryAbsent"
    scene = SCENES[name]
    silences = [(11, False), (13, True)]
    tests = [case(name, scene, [(scene.good, scene.before), (scene.bad, steps)], [(1, fires)]) for steps, fires in silences]
    promtool(name, rule_files, scene.step, tests, tmp_path)


def case(name: str, scene: Scene, phases: Sequence[tuple[State, int]], expected: Sequence[tuple[int, bool]]) -> dict[str, Any]:
    """One of promtool's tests. expected: for phases by number, whether the alert fires at their end."""
    ends = [sum(steps for _, steps in phases[: number + 1]) * scene.step for number in range(len(phases))]
    labels = {"alertname": name, "alertstate": "firing", "severity": str(BY_NAME[name].severity), **scene.labels}
    firing = {"labels": f"ALERTS{{{', '.join(f'{key}={chr(34)}{value}{chr(34)}' for key, value in labels.items())}}}", "value": 1}
    return {
        "interval": f"{scene.step}s",
        "input_series": series(phases),
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{name}", alertstate="firing"}}',
                "eval_time": f"{ends[number]}s",
                "exp_samples": [firing] if fires else [],
            }
            for number, fires in expected
        ],
    }


def series(phases: Sequence[tuple[State, int]]) -> list[dict[str, str]]:
    """All series over all phases."""
    wrong = []
    for name in dict.fromkeys(name for state, _ in phases for name in state):
        values: list[str] = []
        total = 0.0
        for state, steps in phases:
            amount = state.get(name, None if name[0] == "=" else 0.0)
            for _ in range(steps):
                if amount is None:
                    values.append("_")
                elif name[0] == "=":
                    values.append(f"{amount:g}")
                else:
                    total += amount
                    values.append(f"{total:.6f}")
        wrong.append({"series": name.removeprefix("="), "values": " ".join([values[0] if values else "_", *values])})
    return wrong


def needed(name: str, rule_files: dict[str, Path]) -> list[dict[str, Any]]:
    """An alert and the recordings that it is made of, in the order of the files."""
    rules = [
        rule for path in rule_files.values() for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    ]
    wanted: list[dict[str, Any]] = []
    for rule in reversed(rules):
        if rule.get("alert") == name or any(rule.get("record", "-") in wrong["expr"] for wrong in wanted):
            wanted.insert(0, rule)
    return wanted


def promtool(name: str, rule_files: dict[str, Path], step: int, tests: list[dict[str, Any]], directory: Path) -> None:
    """Run the tests, with the rules that the alert needs: a window of three days over all of them takes minutes."""
    path, rules = directory / "test.yml", directory / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": needed(name, rule_files)}]}, width=10**9))
    content = {"rule_files": [str(rules)], "evaluation_interval": f"{step}s", "tests": tests}
    path.write_text(yaml.safe_dump(content, width=10**9))
    run = subprocess.run([program("promtool"), "test", "rules", path], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_reference_is_what_was_set_published_usual_or_the_default(tmp_path: Path) -> None:
    """In this order, and the recorded reference says which; what was published counts for two days after the job has ended."""
    minutes = 26 * 60
    published = next(name for name in SCENES["TTSReferenceLatencyMissing"].good if name.startswith("="))
    first_day: State = {**first_audio(10, 0, at=(0.5, 0.8)), published: None}
    job: State = {**first_day, published: 1.0}
    after: State = {**first_day, published: None}
    phases = [(first_day, minutes), (job, 5), (after, 55)]
    name = recorded(judged_first_audio_reference, "5m")

    def alert(at: int, value: float, source: str) -> dict[str, Any]:
        sample = {"labels": f'{{{SERVICE}, {PIPER}, {REFERENCE}="{source}"}}', "value": value}
        return {"expr": f"round({name}, 0.001)", "eval_time": f"{at}m", "exp_samples": [sample]}

    expected = [alert(60, 2.5, "default"), alert(minutes, 0.495, "yesterday"), alert(minutes + 60, 1.0, "published")]
    for number, (objectives, tests) in enumerate(
        [
            (Objectives(), expected),
            (
                Objectives(reference=0.3, reference_is_set=True),
                [alert(at, 0.3, "environment") for at in (60, minutes, minutes + 60)],
            ),
        ]
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "speech.yml").write_text(prometheus("speech", objectives))
        content = {"interval": "60s", "input_series": series(phases), "promql_expr_test": tests}
        promtool("TTSFirstAudioSlow", {"speech": directory / "speech.yml"}, 300, [content], directory)


@pytest.mark.parametrize(("beyond", "words"), [(True, "at least 16x"), (False, "about 9.6x")])
def test_a_quantile_beyond_the_last_bucket_is_told_as_at_least(
    rule_files: dict[str, Path], tmp_path: Path, beyond: bool, words: str
) -> None:
    """The message of the alert says so there, and only there."""
    name, step = "TTSFirstAudioSlow", 60
    flags = 'service_name="speech", gen_ai_provider_name="piper", tts_cache_result="miss", tts_outcome="ok"'
    counts = {"20": 50.0, "40": 50.0 if beyond else 100.0, "+Inf": 100.0}
    state: State = {f'{bucket_series(SYNTHESIS_FIRST_AUDIO)}{{{flags}, le="{bound}"}}': n for bound, n in counts.items()}
    state[f"{count_series(SYNTHESIS_FIRST_AUDIO)}{{{flags}}}"] = 100.0
    if not beyond:  # 93.75 % within 20 s, and a fifth of those up to 40 s to go to 95 %: 24 s, against 2.5 s
        state[f'{bucket_series(SYNTHESIS_FIRST_AUDIO)}{{{flags}, le="20"}}'] = 93.75
    condition = BY_NAME[name]
    alert = {
        "exp_labels": {"severity": "ticket", "service_name": "speech", "gen_ai_provider_name": "piper"},
        "exp_annotations": {
            "summary": f"speech piper: First audio takes {words} its reference at the 95th percentile",
            "description": condition.meaning,
            "runbook_url": f"{RUNBOOKS}#{name.lower()}",
        },
    }
    test = {
        "interval": f"{step}s",
        "input_series": series([(state, 30)]),
        "alert_rule_test": [{"eval_time": f"{30 * step}s", "alertname": name, "exp_alerts": [alert]}],
    }
    promtool(name, rule_files, step, [test], tmp_path)
