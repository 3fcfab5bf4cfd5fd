"""Environment, cluster and namespace: a choice on the page where there are several, and what is said where nobody chose."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from otel_tts import semconv
from otel_tts.live.view import NAMELESS, View
from otel_tts.settings import Selection
from tests.history.conftest import Source
from tests.live.test_pages import one, page_text

OK = (("gen_ai.provider.name", "piper"), ("tts.outcome", "ok"))
EU = {"k8s.cluster.name": "eu", "deployment.environment.name": "prod", "service.namespace": "shop"}
US = {"k8s.cluster.name": "us", "deployment.environment.name": "prod", "service.namespace": "shop"}
TEST = {"deployment.environment.name": "test", "service.namespace": "shop"}


@pytest.fixture(autouse=True)
def _forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test reads its own directory."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")
    st.cache_resource.clear()
    st.cache_data.clear()


def speaking(directory: Path, service: str, **counted: tuple[int, Mapping[str, str]]) -> None:
    """Processes of a service, with so many requests at each place."""
    source = Source(None, directory, None, service)  # type: ignore[arg-type]  # nothing is read by it
    for process, (number, place) in counted.items():
        source.write(process, time.time() - 30, {(semconv.SYNTHESIS_DURATION, OK): [number, 0]}, place)


def requests(test: AppTest) -> int:
    """The number on the first tile."""
    [number] = re.findall(r'aria-label="Requests".*?class="value">([\d,]+)<', page_text(test))
    return int(number.replace(",", ""))


def choices(test: AppTest) -> dict[str, list[str]]:
    """The places that can be chosen, by control."""
    return {box.label: box.options for box in test.selectbox if box.label in ("Environment", "Cluster", "Namespace")}


def test_one_place_is_no_choice(tmp_path: Path) -> None:
    """Nothing to choose and nothing to say."""
    speaking(tmp_path, "speech", a=(3, EU), b=(4, EU))
    test = one("Now").run()
    assert choices(test) == {}
    assert requests(test) == 7
    assert "added up" not in page_text(test)


def test_a_cluster_is_chosen(tmp_path: Path) -> None:
    """All are added up, which is said, until one is chosen; the address keeps it, and what is offered depends on what was chosen before."""
    speaking(tmp_path, "speech", a=(3, EU), b=(4, US), c=(50, TEST))
    test = one("Now").run()
    assert not test.exception
    assert choices(test) == {"Environment": ["all", "prod", "test"], "Cluster": ["all", NAMELESS, "eu", "us"]}
    assert requests(test) == 57
    assert "speech runs in 2 environments (prod, test) and 3 clusters (none, eu, us), which are added up here." in page_text(test)
    test.selectbox(key="environment").select("prod").run()
    assert choices(test)["Cluster"] == ["all", "eu", "us"]
    assert requests(test) == 7
    assert "speech runs in 2 clusters (eu, us), which are added up here." in page_text(test)
    test.selectbox(key="cluster").select("us").run()
    assert not test.exception
    assert requests(test) == 4
    assert "added up" not in page_text(test)
    assert "(only deployment.environment.name=prod, k8s.cluster.name=us)" in page_text(test)
    assert {"environment": "prod", "cluster": "us"}.items() <= test.query_params.items()


@pytest.mark.parametrize(("cluster", "number"), [("eu", 3), (NAMELESS, 50), ("asia", None)])
def test_the_address_is_obeyed(cluster: str, number: int | None, tmp_path: Path) -> None:
    """Also where it asks for those without a cluster, or for one that is not there, which stays as it was asked for."""
    speaking(tmp_path, "speech", a=(3, EU), b=(4, US), c=(50, TEST))
    test = one("Now")
    test.query_params["cluster"] = cluster
    test.run()
    assert not test.exception
    assert test.selectbox(key="cluster").value == cluster
    if number is None:
        assert "No requests yet." in page_text(test)
    else:
        assert requests(test) == number


def test_what_is_selected_for_all_cannot_be_chosen_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TTS_SELECT holds whatever the address says, and offers nothing else."""
    monkeypatch.setenv("OTEL_TTS_SELECT", "k8s.cluster.name=eu")
    speaking(tmp_path, "speech", a=(3, EU), b=(4, US))
    test = one("Now")
    test.query_params["cluster"] = "us"
    test.run()
    assert requests(test) == 3
    assert "us" not in choices(one("Now").run()).get("Cluster", [])


def test_services_of_other_names_are_not_said_to_be_added_up(tmp_path: Path) -> None:
    """Each in a cluster of its own is no riddle; the clusters can be chosen all the same."""
    speaking(tmp_path, "here", a=(3, EU))
    speaking(tmp_path, "there", b=(4, US))
    test = one("Now").run()
    assert choices(test) == {"Cluster": ["all", "eu", "us"]}
    assert "added up" not in page_text(test)


def test_the_address_of_a_place() -> None:
    """It is read as it is written, on every page."""
    view = View.parse({"environment": "prod", "cluster": NAMELESS, "namespace": " "})
    assert view.params() == {"environment": "prod", "cluster": NAMELESS}
    assert view.place == Selection((("deployment.environment.name", "prod"), ("k8s.cluster.name", "")))
    assert not View().place
