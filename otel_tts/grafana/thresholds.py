"""Colours of values: of a verdict where a condition or an objective gives one, and a neutral one for all else, no data included."""

from __future__ import annotations

import math

from otel_tts.conditions import Comparison, Condition
from otel_tts.grafana.elements import JSON, Step
from otel_tts.palette import BAD, GOOD, UNKNOWN, YELLOW

NEUTRAL = UNKNOWN
BY_NAME = {"mode": "palette-classic-by-name"}
"""How series without a colour of their own get one: by their name, so that it stays when others are filtered away."""


def steps(condition: Condition | None, objective: float | None = None, at_most: float | None = None) -> list[Step]:
    """Make the steps of a value's colour, each of which begins at its value.

    Args:
        condition: when the value is bad. A value at the threshold is not beyond it, so a step up to bad begins at the next number.
        objective: from where on the value is good; between a condition's threshold and it, the value is yellow.
        at_most: up to where the value is good, where no condition says so.
    """
    if at_most is not None:
        return [Step(GOOD), Step(BAD, math.nextafter(at_most, math.inf))]
    if condition is not None and condition.comparison is Comparison.ABOVE:
        return [Step(GOOD), Step(BAD, math.nextafter(condition.threshold, math.inf))]
    if condition is None:
        return [Step(NEUTRAL)] if objective is None else [Step(BAD), Step(GOOD, objective)]
    if objective is None or objective <= condition.threshold:
        return [Step(BAD), Step(GOOD, condition.threshold)]
    return [Step(BAD), Step(YELLOW, condition.threshold), Step(GOOD, objective)]


def unknown(reason: str) -> JSON:
    """Make the part of a field's configuration that shows no data as such: with the reason, in no verdict's colour.

    Args:
        reason: why there is no value.
    """
    result = {"text": reason, "color": NEUTRAL, "index": 0}
    return {"noValue": reason, "mappings": [{"type": "special", "options": {"match": "null+nan", "result": result}}]}
