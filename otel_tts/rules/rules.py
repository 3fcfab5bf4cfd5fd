"""Recording rules and alerts: each condition's figure is recorded with its traffic, then compared with its threshold.

Growth without the instance is recorded, too: see `otel_tts.promql.recorded`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from otel_tts.conditions import OBJECTIVES, SPEECH, TELEMETRY, Comparison, Condition, Objectives, Unit
from otel_tts.conditions.figure import ALWAYS
from otel_tts.promql import QUERIES, Query, Scope
from otel_tts.promql import recorded as growth
from otel_tts.promql.naming import label
from otel_tts.promql.readings import PLACE
from otel_tts.promql.slo import INPUTS, LIMITS, SERVICE, SUBJECT, recorded
from otel_tts.rules.document import document
from otel_tts.settings.judging import RUNBOOKS

GROWTH = "growth"
"""The rule file of recorded growth."""
FILES: Mapping[str, Sequence[Condition]] = {"speech": SPEECH, "objectives": OBJECTIVES, "telemetry": TELEMETRY, GROWTH: ()}
"""The rule files, and which conditions each holds."""

_SHOWN = {
    Unit.SHARE: "{{ $value | humanizePercentage }}",
    Unit.FACTOR: '{{ $value | printf "%.3g" }}x',
    Unit.COUNT: "{{ $value | humanize }}",
}
_ESTIMATED = '{{ $value | printf "%.1f" }}x'


def prometheus(name: str, objectives: Objectives | None = None, runbooks: str = RUNBOOKS) -> str:
    """One of `FILES`, as YAML.

    Args:
        name: of the file.
        objectives: what is generated into it.
        runbooks: the address of the page that alerts link to.
    """
    if name == GROWTH:
        every = duration(growth.GRID_S)
        group = {"name": f"otel-tts {name} {every}", "interval": every, "rules": list(growth.rules())}
        return document({"groups": [group]}, "otel_tts/promql/recorded.py")
    groups: dict[str, list[dict[str, Any]]] = {}
    records: set[str] = set()
    for condition in FILES[name]:
        if condition.query:
            rules = groups.setdefault(interval(condition), [])
            for rule in _recordings(condition, objectives or Objectives()):
                if rule["record"] not in records:
                    records.add(rule["record"])
                    rules.append(rule)
            rules.append(_alert(condition, runbooks))
    listed = [{"name": f"otel-tts {name} {every}", "interval": every, "rules": rules} for every, rules in groups.items()]
    return document({"groups": listed}, "otel_tts/conditions and otel_tts/promql/slo.py")


def interval(condition: Condition) -> str:
    """How often it is evaluated: as often as its window can bring something new.

    Args:
        condition: the condition.
    """
    return "15s" if condition.window_s <= 300 else "1m" if condition.window_s <= 6 * 3600 else "5m"


def duration(seconds: float) -> str:
    """Seconds as Prometheus writes them, in one unit: ``90s``, ``5m``, ``1d``.

    Args:
        seconds: the length of time.
    """
    unit, length = next(
        (unit, length) for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if seconds % length == 0
    )
    return f"{seconds / length:g}{unit}"


def _traffic(condition: Condition) -> Query | None:
    return QUERIES[condition.query + "_traffic"] if condition.minimum_traffic else None


def _recordings(condition: Condition, objectives: Objectives) -> Iterator[dict[str, Any]]:
    """The long window last: it needs nothing of the short one, but people look for the alert right below it."""
    for seconds in (condition.short_window_s, condition.window_s):
        if seconds:
            scope = Scope(window=duration(seconds), by=SUBJECT, objectives=objectives)
            figure, traffic = QUERIES[condition.query], _traffic(condition)
            counted = (traffic,) if traffic and seconds == condition.window_s else ()
            for query in (*INPUTS.get(figure.name, ()), *counted, figure):
                yield {"record": recorded(query, scope.window), "expr": query(scope)}


def _alert(condition: Condition, runbooks: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": condition.name, "expr": expression(condition)}
    if condition.pending_s:
        rule["for"] = duration(condition.pending_s)
    named = " ".join(f"{{{{ $labels.{name} }}}}" for name in (SERVICE, *map(label, condition.by)))
    place = "".join(f"{{{{ with $labels.{name} }}}}{{{{ . }}}}/{{{{ end }}}}" for name in PLACE)
    subject = "" if condition.figure is ALWAYS else f"{place}{named}: "
    return rule | {
        "labels": {"severity": str(condition.severity)},
        "annotations": {
            "summary": f"{subject}{condition.title.format(value=_value(condition))}",
            "description": condition.meaning,
            "runbook_url": condition.runbook(runbooks),
        },
    }


def _value(condition: Condition) -> str:
    """The template of the figure. A quantile is "about" so much, as `Figure.formatted` has it, and beyond the last bucket "at least"."""
    shown = _SHOWN[condition.figure.unit]
    if condition.query not in LIMITS:
        return shown
    quantile, bound = LIMITS[condition.query]
    names = (*SUBJECT, *map(label, condition.by))
    selector = ", ".join(f"{name}=%q" for name in names)
    asked = f"{recorded(quantile, duration(condition.window_s))}{{{selector}}} >= {bound:g}"
    beyond = f"printf `{asked}` {' '.join(f'$labels.{name}' for name in names)} | query"
    return f"{{{{ with {beyond} }}}}at least {shown}{{{{ else }}}}about {_ESTIMATED}{{{{ end }}}}"


def expression(condition: Condition) -> str:
    """What an alert compares. A minimum of bad events is rounded: increases are extrapolated, and seldom whole.

    Args:
        condition: the condition.
    """
    figure, traffic = QUERIES[condition.query], _traffic(condition)
    beyond = f"{condition.comparison} {condition.threshold:g}"
    if not condition.window_s:
        return f"{figure(Scope(by=SUBJECT))} {beyond}"
    window = duration(condition.window_s)
    value = recorded(figure, window)
    terms = [f"{value} {beyond}"]
    if condition.short_window_s:
        terms.append(f"{recorded(figure, duration(condition.short_window_s))} {beyond}")
    if traffic:
        counted = recorded(traffic, window)
        terms.append(f"{counted} >= {condition.minimum_traffic}")
        if condition.minimum_events:
            share = f"(1 - {value})" if condition.comparison is Comparison.BELOW else value
            terms.append(f"round({share} * {counted}) >= {condition.minimum_events}")
    return " and ".join(terms)
