"""The chart's rules and monitors follow the Prometheus operator's definitions of its resources."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.custom import KINDS, definition, mistakes
from tools.chart import examples, manifests

VALUES = {
    **examples(),
    "all": {"rules": {"enabled": True}, "serviceMonitor": {"enabled": True}, "example": {"enabled": True}},
}


def defined(kind: str) -> Path:
    """The definition of a kind; without it the test is skipped, or fails where tools are required."""
    if path := definition(kind):
        return path
    return (pytest.fail if os.environ.get("REQUIRE_TOOLS") else pytest.skip)("`make tools` brings the operator's definitions")


def custom(name: str) -> list[dict[str, Any]]:
    """The operator's resources among those that some values make."""
    return [resource for resource in manifests(VALUES[name]) if resource["kind"] in KINDS]


@pytest.mark.parametrize("name", VALUES)
def test_the_operator_takes_them(name: str) -> None:
    """Every field is one of its definition, with a value that it allows."""
    assert [problem for resource in custom(name) for problem in mistakes(resource, defined(resource["kind"]))] == []


def test_both_kinds_are_made() -> None:
    """So that the test above has something to look at."""
    assert {resource["kind"] for resource in custom("all")} == set(KINDS)


def misspelt(resource: dict[str, Any]) -> None:
    """A field that is none."""
    resource["spec"]["group"] = resource["spec"].pop("groups")


def wrong_duration(resource: dict[str, Any]) -> None:
    """An interval that is none."""
    resource["spec"]["groups"][0]["interval"] = "soon"


def no_expression(resource: dict[str, Any]) -> None:
    """A rule without an expression."""
    del resource["spec"]["groups"][0]["rules"][0]["expr"]


def number(resource: dict[str, Any]) -> None:
    """A label whose value is no text."""
    resource["spec"]["groups"][0]["rules"][-1]["labels"] = {"severity": 1}


@pytest.mark.parametrize("spoil", [misspelt, wrong_duration, no_expression, number], ids=lambda spoil: spoil.__name__)
def test_a_mistake_is_found(spoil: Callable[[dict[str, Any]], None]) -> None:
    """Each kind of mistake is one for the definition, too."""
    resource = copy.deepcopy(next(resource for resource in custom("all") if resource["kind"] == "PrometheusRule"))
    spoil(resource)
    assert mistakes(resource, defined("PrometheusRule"))
