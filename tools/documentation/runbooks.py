"""``docs/runbooks.md``: a section for each condition."""

from __future__ import annotations

from otel_tts import semconv
from otel_tts.conditions import BY_NAME, CONDITIONS, MINIMUM_REFERENCE, Condition, Objectives, formatted
from otel_tts.conditions.telemetry import WATCHDOG
from otel_tts.formatting import elapsed
from otel_tts.promql import label
from otel_tts.promql.slo import REFERENCE_WINDOW, judged_duration_reference, judged_first_audio_reference, recorded
from otel_tts.rules.routing import DIRECTORY, RECEIVERS
from otel_tts.rules.rules import expression
from otel_tts.settings import ObjectiveSettings
from tools.documentation.markdown import code, page

_SETTINGS = ("slo_success", "slo_first_audio", "slo_first_audio_seconds", "reference_latency_p95", "runbooks_url")


def render() -> str:
    """The page."""
    fields = {
        "reference_p95": code(ObjectiveSettings.variable("reference_latency_p95")),
        "reference_latency": semconv.REFERENCE_LATENCY.name,
        "stream": f"{label(semconv.STREAM)}=true",
        "default": Objectives().reference,
        "minimum": MINIMUM_REFERENCE,
        "first_audio_reference": recorded(judged_first_audio_reference, REFERENCE_WINDOW),
        "duration_reference": recorded(judged_duration_reference, REFERENCE_WINDOW),
        "settings": ", ".join(code(ObjectiveSettings.variable(name)) for name in _SETTINGS),
        "receivers": ", ".join(code(f"{DIRECTORY}/{name}") for name in RECEIVERS),
        "watchdog": WATCHDOG.name,
        "alerts": "\n\n".join(map(_section, CONDITIONS)),
    }
    return page("runbooks.md", "otel_tts/conditions", fields)


def _section(condition: Condition) -> str:
    """One condition. Its heading's anchor is what the alert links to."""
    title = condition.title.format(value="…")
    blocks = [f"## {condition.name}", f"*{title}.* Severity: {condition.severity}.", condition.meaning, _holds(condition)]
    blocks += ["\n".join(f"{number}. {step}" for number, step in enumerate(condition.steps_for(), 1))]
    if condition.causes:
        links = ", ".join(f"[{name}](#{name.lower()})" for name in condition.causes if name in BY_NAME)
        blocks.append(f"Not sent during {links}.")
    if condition.query:
        blocks.append(f"```promql\n{expression(condition)}\n```")
    return "\n\n".join(blocks)


def _holds(condition: Condition) -> str:
    figure = condition.figure
    windows = " and ".join(elapsed(window) for window in (condition.window_s, condition.short_window_s) if window)
    side = "above" if condition.comparison == ">" else "below"
    described = figure.description[0].lower() + figure.description[1:]
    holds = f"Met while the figure is {side} {formatted(condition.threshold, figure.unit)}. The figure: {described}"
    holds += f", over {windows}" if windows else ""
    holds += f". It must be so for at least {elapsed(condition.pending_s)}" if condition.pending_s else ""
    if condition.minimum_traffic:
        holds += f". Not judged below {condition.minimum_traffic} {figure.traffic}"
        holds += f", nor with fewer than {condition.minimum_events} bad events" if condition.minimum_events else ""
    return f"{holds}." + ("" if condition.query else " Judged in the process only: see its log.")
