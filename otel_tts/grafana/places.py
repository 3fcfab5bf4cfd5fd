"""Where services run: the choices that tell two services of one name apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_tts import promql
from otel_tts.settings import PLACES as ATTRIBUTES


@dataclass(frozen=True, slots=True)
class PlaceChoice:
    """One choice. attribute: of the resource, by its key."""

    title: str
    attribute: str
    description: str

    @property
    def label(self) -> str:
        """The label that Prometheus makes of the attribute."""
        return promql.sanitized(self.attribute)


def _place(name: str) -> PlaceChoice:
    attribute = ATTRIBUTES[name]
    described = f"Values of {attribute}, of services that sent metrics. All: also those that send none."
    return PlaceChoice(name.capitalize(), attribute, described)


PLACES: Mapping[str, PlaceChoice] = {name: _place(name) for name in ("environment", "cluster", "namespace")}
"""The choices by the names of their variables: the resource attributes that processes can be chosen by."""
