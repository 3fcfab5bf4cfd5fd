"""What a window's figures are to MLflow: numbers where they are known, and words where only a limit is."""

from __future__ import annotations

import math

import pytest

from otel_tts import semconv
from otel_tts.commands.output import plain
from otel_tts.commands.report import summary
from otel_tts.distribution import AtLeast, AtMost, Distribution
from otel_tts.history.rows import METRICS, Series, rows
from otel_tts.history.services import Service
from otel_tts.report.job import WindowResult
from otel_tts.report.measures import Measures, listed
from otel_tts.report.window import Window


@pytest.mark.parametrize(
    ("counts", "quantiles", "kind"),
    [
        ((90, 10), ("p95", "p99"), AtLeast),
        ((19, 0), ("p95", "p99"), AtMost),
        ((20, 0), ("p99",), AtMost),
        ((1, 0), ("p50", "p95", "p99"), AtMost),
    ],
    ids=["beyond the last bucket", "fewer than 20", "fewer than 100", "one"],
)
def test_a_quantile_of_which_only_a_bound_is_known_is_no_number(
    counts: tuple[int, int], quantiles: tuple[str, ...], kind: type[AtLeast | AtMost]
) -> None:
    """MLflow has no metric but its bound, by the name that the metric would have; `--json` has null, and the bound. Others are numbers."""
    below, above = counts
    limits = semconv.SYNTHESIS_DURATION.buckets
    bound = limits[-1] if kind is AtLeast else limits[3]
    reached = {limit: below * (limit >= limits[3]) for limit in limits}
    attributes = {semconv.PROVIDER.key: "piper", semconv.OUTCOME.key: "ok", semconv.CACHE_RESULT.key: "miss"}
    values = Distribution({**reached, math.inf: below + above})
    growth = {metric.name: [] for metric in METRICS} | {semconv.SYNTHESIS_DURATION.name: [Series(attributes, values)]}
    [overall], providers = rows(growth, 0, 60, None), rows(growth, 0, 60, "provider")
    service = Service(name="tts", versions={"": 100}, voices={}, languages={}, providers={}, errors={}, attempts={}, scores={})
    measures = Measures(service, overall, tuple(providers), ())
    other = AtMost if kind is AtLeast else AtLeast
    names = {f"{prefix}duration_{name}" for prefix in ("request/", "provider/piper/request_") for name in quantiles}
    assert measures.limits(kind) == dict.fromkeys(names, bound)
    assert measures.limits(other) == {}
    measured = {"p50", "p95", "p99"} - set(quantiles)
    figures = measures.figures().keys()
    assert {name for name in figures if "duration_p" in name} == {
        f"{prefix}duration_{name}" for prefix in ("request/", "provider/piper/request_") for name in measured
    }
    assert ("request/duration_p95" in measures.headline()) is ("p95" in measured)
    printed = plain(summary.plain_window(WindowResult(Window(0, 60), "tts", "written", row=overall)))
    shown = {f"request_duration_{name}": bound for name in quantiles}
    assert (printed["at_least"], printed["at_most"]) == ((shown, {}) if kind is AtLeast else ({}, shown))
    for name in ("p50", "p95", "p99"):
        assert (printed["figures"][f"request_duration_{name}"] is None) is (name in quantiles)


@pytest.mark.parametrize("attribute", [semconv.PROVIDER, semconv.LANGUAGE])
def test_what_is_not_stated_has_words(attribute: semconv.Attribute) -> None:
    """MLflow lists metrics by name for people: no name has the label value that stands for none."""
    metric = semconv.SYNTHESIS_REQUESTS if attribute is semconv.LANGUAGE else semconv.SYNTHESIS_DURATION
    ended = {semconv.OUTCOME.key: "ok"}
    amount: float | Distribution = 3.0 if attribute is semconv.LANGUAGE else Distribution({math.inf: 3})
    growth = {each.name: [] for each in METRICS} | {
        metric.name: [Series({attribute.key: value, **ended}, amount) for value in (semconv.NONE, "ada")]
    }
    by = "language" if attribute is semconv.LANGUAGE else "provider"
    [overall], split = rows(growth, 0, 60, None), rows(growth, 0, 60, by)
    service = Service(name="tts", versions={"": 6}, voices={}, languages={}, providers={}, errors={}, attempts={}, scores={})
    figures = Measures(service, overall, *((tuple(split), ()) if by == "provider" else ((), tuple(split)))).figures()
    assert {f"{by}/not stated/request_count", f"{by}/ada/request_count"} <= figures.keys()
    assert not any(semconv.NONE in name for name in figures)


def test_tags_have_words_for_what_has_no_name() -> None:
    """Voices and providers of a run are for people: neither the value that stands for none nor the one for all further ones is shown."""
    assert listed(["ada", semconv.NONE, semconv.OTHER, ""]) == "ada, not stated, others"
