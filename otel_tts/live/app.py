"""The program that Streamlit runs: navigation, controls, and the page, which is redrawn at each refresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from otel_tts import formatting, palette
from otel_tts.history import Service, open_history
from otel_tts.live import tiles
from otel_tts.live.cached_history import CachedHistory, SourceUnavailableError
from otel_tts.live.screens import Page, cache, drift, now, providers, requests, trends
from otel_tts.live.view import RANGES, REFRESHES, SOURCES, View
from otel_tts.settings import LiveSettings

PAGES = (
    Page("Now", now.draw),
    Page("Cache", cache.draw),
    Page("Providers", providers.draw),
    Page("Trends", trends.draw, trends.controls, ("measure", "split")),
    Page("Requests", requests.draw, requests.controls, requests.PARAMS),
    Page("Drift", drift.draw, params=("report",)),
)


@st.cache_resource(show_spinner=False)
def history(source: str) -> CachedHistory:
    """Open the history of a source, one for the process, so that nothing is read twice."""
    settings = LiveSettings.load(prometheus_url="", jaeger_url="", tempo_url="") if source == "local" else LiveSettings.load()
    return CachedHistory(open_history(settings))


def main() -> None:
    """Draw everything once; from then on the page redraws itself."""
    st.set_page_config("otel-tts live", ICON, layout="wide", initial_sidebar_state="collapsed")
    st.html(f"<style>{tiles.STYLE}</style>")
    st.logo(LOGO, size="large")
    chosen = st.navigation([_streamlit_page(page) for page in PAGES], position="top")
    chosen.run()


def _streamlit_page(page: Page) -> StreamlitPage:
    url = "" if page is PAGES[0] else page.title.lower()
    return st.Page(partial(draw, page), title=page.title, url_path=url, default=page is PAGES[0])


def draw(page: Page) -> None:
    """Draw a page with its controls; the part below them is redrawn at each refresh."""
    if "view" not in st.session_state:
        st.session_state.view = View.parse(st.query_params.to_dict())
    _controls(page)
    view: View = st.session_state.view
    _to_url(page)
    st.fragment(_part, run_every=REFRESHES[view.refresh])(page, view)


def _controls(page: Page) -> None:
    """Draw the controls of every page: range, refresh and, where there are several, source and service."""
    view: View = st.session_state.view
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        span = st.segmented_control("Range", list(RANGES), default=view.range, required=True, key="range")
        every = st.selectbox("Refresh", list(REFRESHES), list(REFRESHES).index(view.refresh), key="refresh", width=110)
        view = replace(view, range=span, refresh=every, source=_source(view))
        services = _services(view)
        view = replace(view, service=_service(view, services))
        if page.controls is not None:
            view = page.controls(view, services)
    st.session_state.view = view


def _source(view: View) -> str:
    """Draw the choice of the source. There is none where there are local files only."""
    settings = LiveSettings.load()
    if not settings.has_backends:
        return View().source
    return st.segmented_control(
        "Source", list(SOURCES), default=view.source, format_func=SOURCES.__getitem__, required=True, key="source"
    )


def _services(view: View) -> Sequence[Service]:
    """List the services that had requests."""
    try:
        source = history(view.source)
        return source.services(source.period(view.range, REFRESHES[view.refresh]))
    except SourceUnavailableError:
        return ()  # the page says so


def _service(view: View, services: Sequence[Service]) -> str:
    """Draw the choice of the service. There is none where there is one service only."""
    names = sorted({service.name for service in services} | ({view.service} - {""}))
    if len(names) < 2 and not view.service:
        return ""
    options = ["", *names]
    return st.selectbox(
        "Service", options, options.index(view.service), format_func=lambda name: name or "all", key="service", width=220
    )


def _part(page: Page, drawn_with: View) -> None:
    """Draw the part of a page that is redrawn at each refresh."""
    view: View = st.session_state.view
    source = history(view.source)
    if view != drawn_with:
        st.rerun()  # what was chosen in it concerns the whole page
    period = source.period(view.range, REFRESHES[view.refresh])
    try:
        if source.began() is None:
            st.html(tiles.legend(source.source))
            st.html(tiles.notice("unknown", "No requests yet.", EMPTY))
            return
        st.html(tiles.legend(f"{source.source} · read at {formatting.clock(period.now)}", palette.GOOD))
        page.draw(source, period, view, LiveSettings.load())
        _to_url(page)
    except SourceUnavailableError as away:
        st.html(tiles.legend(source.source, palette.BAD))
        st.html(tiles.notice("bad", f"The source has not answered since {formatting.clock(away.since)}.", str(away)))


def _to_url(page: Page) -> None:
    view: View = st.session_state.view
    if (wanted := view.params(page.params)) != st.query_params.to_dict():
        st.query_params.from_dict(wanted)


_MARK = '<g stroke="#2E86C1" stroke-width="4" stroke-linecap="round"><path d="M6 14v4M13 7v18M20 11v10M27 14v4"/></g>'
ICON = f'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">{_MARK}</svg>'
LOGO = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="132" height="32" viewBox="0 0 132 32">{_MARK}'
    '<text x="38" y="23" font-family="sans-serif" font-size="20" font-weight="600" fill="#2E86C1">otel-tts</text></svg>'
)
EMPTY = "`otel-tts verify` sends requests to a running service (`otel-tts serve`); `otel-tts demo` does both. They appear without a reload."

if __name__ == "__main__":
    main()
