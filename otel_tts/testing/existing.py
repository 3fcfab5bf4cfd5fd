"""Whether a metric of ours has an attribute and a value: a test that asks for what cannot be would pass for the wrong reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from otel_tts import semconv


def check_exists(name: str, wanted: Mapping[str, Any]) -> None:
    """Check that points of a metric can have these attributes and values; a metric of the host may have any.

    Args:
        name: the metric.
        wanted: attributes and their values.

    Raises:
        ValueError: there is no such metric, attribute or value.
    """
    metrics = {metric.name: metric for metric in semconv.METRICS}
    if name not in metrics:
        if name.split(".", maxsplit=1)[0] in {metric.split(".")[0] for metric in metrics}:
            raise ValueError(f"No metric is named {name}. {_similar(name, metrics)}")
        return  # the host's
    attributes = {attribute.key: attribute for attribute in metrics[name].attributes}
    for key, value in wanted.items():
        if key not in attributes:
            raise ValueError(f"{name} has no attribute {key}. {_similar(key, attributes)}")
        values = attributes[key].values
        if values and value not in values:
            raise ValueError(f"{key} is never {value!r}. {_similar(str(value), map(str, values))}")


def _similar(name: str, names: Iterable[str]) -> str:
    """The most similar names, or else all names."""
    choices = sorted(names)
    closest = get_close_matches(name, choices, 1)
    return f"Did you mean {closest[0]}?" if closest else f"There are: {', '.join(choices) or 'none'}."
