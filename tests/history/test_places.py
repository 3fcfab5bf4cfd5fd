"""Where services run: what there is to select from, and what is added up where nobody did."""

from __future__ import annotations

import time
from itertools import product

import pytest

from otel_tts import semconv
from otel_tts.history import Place, added_up
from otel_tts.settings import SELECTABLE, Selection
from tests.history.conftest import Source

START = time.time() // 60 * 60 - 7200.0
DURATION = semconv.SYNTHESIS_DURATION, (("tts.outcome", "ok"),)
ENTRIES = semconv.CACHE_ENTRIES, (("tts.cache.tier", "memory"),)
EU = {"k8s.cluster.name": "eu", "service.namespace": "shop"}
US = {"k8s.cluster.name": "us", "deployment.environment.name": "prod"}


def values(source: Source, start: float, end: float) -> list[tuple[str, ...]]:
    """The places of the source's service."""
    return [place.values for place in source.history.places(start, end) if place.service == source.service]


def test_places_are_those_of_processes_with_requests(source: Source) -> None:
    """In the time that is asked about, of each service its own, within the selection; who has no requests is nowhere."""
    for process, place in enumerate((EU, US, {})):
        source.write(f"{process}", START + 20, {DURATION: [1, 0]}, place)
    source.write("cache", START + 20, {ENTRIES: 4}, {"k8s.cluster.name": "asia"})
    source.write("later", START + 100, {DURATION: [1, 0]}, {"k8s.cluster.name": "africa"})
    assert SELECTABLE == ("service.namespace", "deployment.environment.name", "k8s.cluster.name")
    assert values(source, START, START + 60) == [("", "", ""), ("", "prod", "us"), ("shop", "", "eu")]
    assert values(source, START + 60, START + 120) == [("", "", "africa")]
    assert values(source, START - 120, START) == []
    assert values(source.another(), START, START + 60) == []
    assert values(source.selected("k8s.cluster.name=eu"), START, START + 60) == [("shop", "", "eu")]


def test_none_can_be_selected(source: Source) -> None:
    """An empty value means processes without the attribute, and its words say so."""
    assert (
        str(Selection((("k8s.cluster.name", ""), ("service.namespace", "shop"))))
        == "without k8s.cluster.name, service.namespace=shop"
    )
    assert Selection((("k8s.cluster.name", ""),)).holds({"service.namespace": "shop"})
    assert not Selection((("k8s.cluster.name", ""),)).holds(US)


def test_what_is_added_up_is_named() -> None:
    """Each service of one name in several places, each attribute that differs, with all of its values; and nothing else."""
    places = [Place("a", ("", "", "eu")), Place("a", ("", "", "us")), Place("b", ("", "", "eu"))]
    assert added_up(places) == ["a runs in 2 clusters (eu, us), which are added up here."]
    assert added_up(places, "a") == added_up(places)
    assert added_up(places, "b") == []
    assert added_up([]) == []
    assert added_up([Place("", ("shop", "test", "")), Place("", ("shop", "prod", "eu"))]) == [
        "A service without a name runs in 2 environments (prod, test) and 2 clusters (none, eu), which are added up here."
    ]


@pytest.mark.parametrize("number", range(3))
def test_it_is_named_exactly_where_places_differ(number: int) -> None:
    """For every set of up to three places of one service."""
    for chosen in product(product(("", "x"), repeat=3), repeat=number + 1):
        assert bool(added_up([Place("a", each) for each in chosen])) == (len(set(chosen)) > 1)


def test_the_beginning_is_that_of_what_is_selected(source: Source) -> None:
    """Of a cluster that came later it is later, of one that is not there nothing began."""
    name = source.service
    source.write("a", START + 10, {DURATION: [1, 0]}, {"k8s.cluster.name": f"early {name}"})
    source.write("b", START + 900, {DURATION: [1, 0]}, {"k8s.cluster.name": f"late {name}"})
    early, late, never = (source.selected(f"k8s.cluster.name={each} {name}").history.began for each in ("early", "late", "never"))
    assert early is not None
    assert early <= START + 10
    assert late is not None
    assert START + 10 < late <= START + 900
    assert never is None
