"""Drift: what differs from the reference, judged by Evidently with methods and thresholds that are all said.

A change counts when it is both certain and large. Certain: the two samples hardly come from one distribution (Kolmogorov-Smirnov for
numbers, Fisher's exact test for shares, chi-squared for categories; p below `ALPHA`). Large: the middle has moved by more than the
measure's limit, or for categories, the Jensen-Shannon distance is above it. Either alone gives false alarms: with many requests
everything is certain, with few everything is large. What got better beyond doubt, such as a voice that is twice as fast, is said, but
is no drift.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from otel_tts import formatting
from otel_tts.report import shares, tracking
from otel_tts.report.columns import Column, Family, engine_columns, traffic_columns
from otel_tts.report.sample import Sample

if TYPE_CHECKING:
    import numpy as np
    from evidently.core.report import Snapshot

ALPHA = 1e-4
"""The probability of so much difference by chance below which a difference is certain: a window has many columns, a day many windows."""
LEAST = 30
"""Values on either side below which a column is not judged."""
_FARTHEST = 100.0  # a score that nobody needs to tell from a higher one
_CERTAINTY = ("ks", shares.METHOD, "chisquare")
_NEVER = 1e-300  # scores are logged; a p-value may underflow to 0

Status = Literal["drifted", "changed", "improved", "steady", "not judged"]
"""``changed`` is said of the traffic, which no engine causes; ``drifted`` and ``improved`` of engines."""
_DIFFERENCE: dict[Family, Status] = {"performance": "drifted", "audio": "drifted", "traffic": "changed"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one column.

    score: how far it moved, in multiples of what matters. current and reference: the middle of either, in the measure's unit; of
    categories, None. rows and reference_rows: how many values there were. reason: why it was not judged.
    """

    measure: str
    family: Family
    provider: str
    group: str
    unit: str
    status: Status
    rows: int
    reference_rows: int
    current: float | None = None
    reference: float | None = None
    score: float | None = None
    p_value: float | None = None
    better: bool | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.measure} of {self.group}" if self.group else self.measure


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a sample compares with its reference.

    reference: what it was compared with; empty when there was nothing. reason: why nothing was judged. passed and failed: the
    number of Evidently's tests. reports: Evidently's own, by name.
    """

    reference: str
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    passed: int = 0
    failed: int = 0
    reports: Mapping[str, Snapshot] | None = None

    def select(self, *families: Family, status: Status | None = None) -> list[Finding]:
        """The findings of that kind.

        Args:
            families: to which findings must belong.
            status: that findings must have; None: any.
        """
        return [f for f in self.findings if f.family in families and status in (None, f.status)]

    @property
    def drifted(self) -> list[Finding]:
        """Findings that differ from the reference because of an engine."""
        return self.select("performance", "audio", status="drifted")

    @property
    def traffic(self) -> list[Finding]:
        """Findings that differ from the reference because of the traffic."""
        return self.select("traffic", status="changed")

    @property
    def status(self) -> Status:
        """The status of the engines; changed traffic does not count."""
        if self.drifted:
            return "drifted"
        return "steady" if any(f.status != "not judged" for f in self.select("performance", "audio")) else "not judged"

    def figures(self) -> dict[str, float]:
        """The judgement as metrics of MLflow, without the names of providers."""
        judged = [finding for finding in self.findings if finding.status != "not judged"]
        return {
            "drift/detected": len(self.drifted),
            "drift/judged": len([finding for finding in judged if finding.family != "traffic"]),
            "traffic/changed": len(self.traffic),
            "traffic/judged": len([finding for finding in judged if finding.family == "traffic"]),
            "evidently/tests_passed": self.passed,
            "evidently/tests_failed": self.failed,
        }

    def worst(self) -> Mapping[tuple[str, str], Finding]:
        """By provider and measure, the finding with the highest score; what drifted or changed goes before what did not."""
        findings: dict[tuple[str, str], Finding] = {}
        for finding in sorted(self.findings, key=lambda f: (f.status in ("drifted", "changed"), f.score or 0.0)):
            if finding.score is not None:
                findings[finding.provider, finding.measure] = finding
        return findings

    def save(self, directory: Path) -> None:
        """Write the findings, and Evidently's reports as HTML and as JSON.

        Args:
            directory: for the pages.
        """
        summary = {"reference": self.reference, "status": self.status, "reason": self.reason, "alpha": ALPHA, "least": LEAST}
        findings = [asdict(finding) for finding in self.findings]
        (directory / "judgement.json").write_text(json.dumps({**summary, "findings": findings}, indent=2), encoding="utf-8")
        for name, snapshot in (self.reports or {}).items():
            snapshot.save_html(str(directory / f"{name}.html"))
            (directory / f"{name}.json").write_text(snapshot.json(), encoding="utf-8")


def judge(current: Sample, reference: Sample | None, name: str) -> Judgement:
    """Compare a sample with its reference, which is called ``name``; None when there is none.

    Args:
        current: the sample that is judged.
        reference: the sample that it is compared with; None: there is none, so nothing is judged.
        name: the name.
    """
    if reference is None or (not reference.requests and not reference.rows):
        return Judgement(name, reason="there is nothing to compare it with")
    engines, traffic = list(engine_columns(current, reference)), list(traffic_columns(current, reference))
    reports: dict[str, Snapshot] = {}
    findings: list[Finding] = []
    passed = failed = 0
    for title, columns in (("engines", engines), ("traffic", traffic)):
        reasons = {column.name: _unjudged(column, current, reference) for column in columns}
        judged = [column for column in columns if not reasons[column.name]]
        snapshot = _evidently(judged) if judged else None
        results = _results(snapshot) if snapshot else {}
        findings += [_finding(column, results.get(column.title), reasons[column.name]) for column in columns]
        passed += sum(test["status"] == "SUCCESS" for tests in results.values() for test in tests)
        failed += sum(test["status"] == "FAIL" for tests in results.values() for test in tests)
        if snapshot:
            reports[title] = snapshot
    reason = ""
    if current.sampled or reference.sampled:
        which, sample = ("window", current) if current.sampled else ("reference", reference)
        reason = (
            f"sampled: there are spans of {sample.spans:,} of {formatting.counted(sample.requests, 'request')} of the {which}"
        )
    return Judgement(name, tuple(findings), reason, passed, failed, reports)


def _unjudged(column: Column, current: Sample, reference: Sample) -> str:
    if not len(column.current) and not len(column.reference):
        return "no values"
    for which, values in (("", column.current), (" in the reference", column.reference)):
        if len(values) < LEAST:
            return f"{formatting.counted(len(values), 'comparable value')}{which}, {LEAST} are needed"
    return ""


def _evidently(columns: Sequence[Column]) -> Snapshot:
    """Evidently's report, with a column for each of ours; where they differ in length the rest is empty."""
    tracking.prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own making
        import pandas as pd
        import plotly.io
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import CategoryCount, MeanValue, QuantileValue, ValueDrift
        from evidently.tests import gte, lte

        shares.register()

        metrics: list[Any] = []
        for column in columns:
            title, limit = column.title, column.measure.limit
            if column.measure.counted:
                low, high = _bounds(column)
                metrics.append(ValueDrift(column=title, method=shares.METHOD, threshold=ALPHA))
                metrics.append(CategoryCount(title, category=column.measure.counted, share_tests=[gte(low), lte(high)]))
            elif _categorical(column):
                metrics.append(ValueDrift(column=title, method="chisquare", threshold=ALPHA))
                metrics.append(ValueDrift(column=title, method="jensenshannon", threshold=limit))
            else:
                low, high = _bounds(column)
                metrics.append(ValueDrift(column=title, method="ks", threshold=ALPHA))
                middle = MeanValue if column.measure.mean else partial(QuantileValue, quantile=0.5)
                metrics.append(middle(column=title, tests=[gte(low), lte(high)]))
        categorical = [column.title for column in columns if _categorical(column) or column.measure.counted]
        definition = DataDefinition(
            numerical_columns=[column.title for column in columns if column.title not in categorical],
            categorical_columns=categorical,
        )
        now, then = (
            pd.DataFrame({column.title: pd.Series(_shown(column, values)) for column, values in zip(columns, side, strict=True)})
            for side in ([column.current for column in columns], [column.reference for column in columns])
        )
        current, reference = Dataset.from_pandas(now, definition), Dataset.from_pandas(then, definition)
        theme, plotly.io.templates.default = plotly.io.templates.default, "none"  # Evidently's pages have their own
        try:  # copying plotly's own theme into each drawing takes a tenth of the time
            return Report(metrics, include_tests=True).run(current, reference)
        finally:
            plotly.io.templates.default = theme


def _shown(column: Column, values: np.ndarray) -> np.ndarray:
    """The values as Evidently draws them: of a share, a bar for what counts and one for the rest."""
    import numpy as np

    counted = column.measure.counted
    return np.where(values, counted, f"not {counted}") if counted else values


def _results(snapshot: Snapshot) -> Mapping[str, list[Any]]:
    """Evidently's tests by column, each with the value of its metric: first whether it is certain, then whether it is large."""
    evaluated = json.loads(snapshot.json())
    values = {metric["id"]: _number(metric["value"]) for metric in evaluated["metrics"]}
    results: dict[str, list[Any]] = {}
    for test in evaluated["tests"]:
        config = test["metric_config"]
        results.setdefault(config["params"]["column"], []).append(
            {"status": test["status"], "value": values[config["metric_id"]], "method": config["params"].get("method")}
        )
    return results


def _number(value: Any) -> Any:
    return value["share"] if isinstance(value, dict) and "share" in value else value


def _finding(column: Column, tests: Sequence[Any] | None, reason: str) -> Finding:
    measure = column.measure
    fields: dict[str, Any] = {
        "measure": measure.name,
        "family": measure.family,
        "provider": column.provider,
        "group": column.group,
        "unit": measure.unit,
        "rows": len(column.current),
        "reference_rows": len(column.reference),
    }
    if tests is None:
        return Finding(**fields, status="not judged", reason=reason)
    certain = [test for test in tests if test["method"] in _CERTAINTY]
    large = [test for test in tests if test not in certain]
    differs = all(any(test["status"] == "FAIL" for test in kind) for kind in (certain, large))
    p_value = certain[0]["value"]
    p_value = 1.0 if math.isnan(p_value) else max(_rounded(p_value), _NEVER)  # of one category on both sides there is none
    fields |= {"status": _DIFFERENCE[measure.family] if differs else "steady", "p_value": p_value}
    moved = large[0]["value"]
    if _categorical(column):
        return Finding(**fields, score=_rounded(moved / measure.limit))
    middle, scale = _middle(column), column.middle if measure.relative else 1.0
    score = _distance(measure.limit, moved, middle, relative=measure.relative)
    better = (moved < middle) == (measure.better == "lower") if measure.better and moved != middle else None
    if better and fields["status"] == "drifted":
        fields["status"] = "improved"
    return Finding(**fields, current=moved * scale, reference=middle * scale, score=score, better=better)


def _distance(limit: float, moved: float, middle: float, *, relative: bool) -> float:
    """How far the middle moved, in multiples of the limit."""
    if not relative:
        distance = abs(moved - middle) / limit
    elif moved > 0 < middle:
        distance = abs(math.log(moved / middle)) / math.log(limit)
    else:
        distance = 0.0 if moved == middle else _FARTHEST
    return min(distance, _FARTHEST)


def _bounds(column: Column) -> tuple[float, float]:
    """The bounds within which the middle may move."""
    middle, limit = _middle(column), column.measure.limit
    return (middle / limit, middle * limit) if column.measure.relative else (middle - limit, middle + limit)


def _middle(column: Column) -> float:
    import numpy as np

    return float(np.mean(column.reference) if column.measure.mean else np.median(column.reference))


def _categorical(column: Column) -> bool:
    return column.current.dtype.kind not in "bfiu"


def _rounded(value: float) -> float:
    """Round off the last digits: sums over categories depend on their order, which differs from process to process."""
    return float(f"{value:.9g}")
