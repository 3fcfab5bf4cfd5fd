"""Which processes readers read from: those whose resource has certain attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

PLACES = {
    "namespace": "service.namespace",
    "environment": "deployment.environment.name",
    "cluster": "k8s.cluster.name",
}
"""What people choose from in dashboards, each with the resource attribute that it is of."""
SELECTABLE = tuple(PLACES.values())
"""The resource attributes that processes can be chosen by: Prometheus promotes them, so that each series has them as labels."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The values that resource attributes must have, by their keys: "" means that there is none. Without any, all processes are meant."""

    attributes: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.attributes)

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" if value else f"without {key}" for key, value in self.attributes)

    def holds(self, resource: Mapping[str, Any]) -> bool:
        """Whether a resource with these attributes is meant.

        Args:
            resource: all of its attributes, by their keys.
        """
        return all(str(resource.get(key, "")) == value for key, value in self.attributes)


EVERYWHERE = Selection()
"""All processes."""


def selection(text: str) -> Selection:
    """``name=value``, commas between, values percent-encoded, as OTEL_RESOURCE_ATTRIBUTES has them.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    chosen = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    if (
        all(equals and value.strip() for _, equals, value in pairs)
        and chosen.keys() <= set(SELECTABLE)
        and len(chosen) == len(pairs)
    ):
        return Selection(tuple(sorted(chosen.items())))
    raise ValueError(
        f"name=value, with commas between, names being {', '.join(SELECTABLE)}, such as {SELECTABLE[-1]}=eu; each once"
    )
