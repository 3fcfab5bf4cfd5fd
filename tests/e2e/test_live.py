"""The live dashboard reads Prometheus and the trace backend as it reads local files."""

from __future__ import annotations

import re

import pytest
import streamlit as st

from otel_tts.live import app
from tests.e2e.test_history import Both, both
from tests.live.test_pages import _forgotten, one, said

__all__ = ["_forgotten", "both"]  # fixtures


@pytest.mark.parametrize("title", [page.title for page in app.PAGES])
def test_every_page_draws_from_the_backends(both: Both, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page has an error, each says where it reads, and Now counts what local files count."""
    counted = {}
    for source in ("local", "remote"):
        for name, value in both.environ.items():
            if source == "remote" or name == "OTEL_TTS_DATA_DIR":
                monkeypatch.setenv(name, value)
        st.cache_resource.clear()  # else the source that was opened first goes on being read
        test = one(title).run()
        assert not test.exception
        text = said(test)
        assert ("Prometheus at" in text) == (source == "remote")
        counted[source] = re.findall(r">Requests<.*?>([\d,]+)<", text)[:1]
    if title == "Now":
        assert counted["remote"] == counted["local"] == ["52"], text[:3000]
