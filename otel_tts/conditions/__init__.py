"""The conditions that people are told of: each written once, as data.

The monitor judges them inside the process, the live dashboard over what it reads back, Prometheus by the rules that are generated from
them, and the runbooks have a section for each. All of them compare the same figure with the same threshold.
"""

from collections.abc import Mapping, Sequence

from otel_tts.conditions.burns import OBJECTIVES
from otel_tts.conditions.condition import Comparison, Condition, Severity
from otel_tts.conditions.figure import Figure, Unit, formatted
from otel_tts.conditions.objectives import MINIMUM_REFERENCE, Objectives
from otel_tts.conditions.speech import SPEECH
from otel_tts.conditions.telemetry import TELEMETRY

CONDITIONS: Sequence[Condition] = (*SPEECH, *OBJECTIVES, *TELEMETRY)
"""All of them."""
BY_NAME: Mapping[str, Condition] = {condition.name: condition for condition in CONDITIONS}

__all__ = [
    "BY_NAME", "CONDITIONS", "MINIMUM_REFERENCE", "OBJECTIVES", "SPEECH", "TELEMETRY", "Comparison", "Condition", "Figure",
    "Objectives", "Severity", "Unit", "formatted",
]  # fmt: skip
