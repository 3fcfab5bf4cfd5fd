"""The live dashboard reads Prometheus and the trace backend as it reads local files."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from otel_tts.live import app
from tests.e2e.stack import until
from tests.e2e.test_history import Both, both
from tests.live.test_pages import _forgotten, one, page_text

__all__ = ["_forgotten", "both"]  # fixtures


@pytest.mark.parametrize("source", ["local", "remote"])
@pytest.mark.parametrize("title", [page.title for page in app.PAGES])
def test_every_page_draws_from_either_source(both: Both, title: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page has an error, each says where it reads, and Now counts every request."""
    for name, value in both.environ.items():
        if source == "remote" or name == "OTEL_TTS_DATA_DIR":
            monkeypatch.setenv(name, value)
    test = one(title).run()
    assert not test.exception
    assert ("Prometheus at" in page_text(test)) == (source == "remote")
    if title == "Now":  # it reads up to the last multiple of its refresh: what is newer comes with the next one
        until(lambda: counted(test.run()) == "52", "all requests on the page")


def counted(test: AppTest) -> str:
    """The number of requests on the page; nothing while it has none to show."""
    return "".join(re.findall(r">Requests<.*?>([\d,]+)<", page_text(test)))
