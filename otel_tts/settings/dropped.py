"""Which metrics a service does not record."""

from __future__ import annotations

from fnmatch import fnmatchcase

from otel_tts.semconv import METRICS, QUALITY_LOUDNESS


def metric_names(text: str) -> tuple[str, ...]:
    """Names of metrics of the registry with commas between; ``*`` stands for any characters.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: no metric is called so; the message says what is allowed.
    """
    patterns = [pattern.strip() for pattern in text.split(",") if pattern.strip()]
    matching = {pattern: {metric.name for metric in METRICS if fnmatchcase(metric.name, pattern)} for pattern in patterns}
    if all(matching.values()):
        return tuple(sorted(set().union(*matching.values())))
    example = QUALITY_LOUDNESS.name
    raise ValueError(
        f"names of metrics as docs/telemetry.md lists them, with commas between, such as {example} or {example.rpartition('.')[0]}.*"
    )
