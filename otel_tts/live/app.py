"""The program that Streamlit runs: navigation, controls, and the page, which is redrawn at each refresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from otel_tts import formatting, palette, semconv
from otel_tts.history import Service, added_up, open_history
from otel_tts.live import tiles
from otel_tts.live.background import only_background
from otel_tts.live.cached_history import CachedHistory, FiguresUnknownError, SourceUnavailableError
from otel_tts.live.judgement import is_ahead, is_late
from otel_tts.live.screens import Page, cache, drift, now, providers, requests, trends, widget
from otel_tts.live.verdicts import received
from otel_tts.live.view import NAMELESS, RANGES, REFRESHES, SOURCES, View, between
from otel_tts.settings import EVERYWHERE, PLACES, LiveSettings, Selection

PAGES = (
    Page("Now", now.draw, interactive=True),
    Page("Cache", cache.draw, interactive=True),
    Page("Providers", providers.draw, interactive=True),
    Page("Trends", trends.draw, trends.controls, ("measure", "split")),
    Page("Requests", requests.draw, requests.controls, requests.PARAMS),
    Page("Drift", drift.draw, params=("report",)),
)
_OPEN = 16  # sources and places at the same time; a text behind it, as elsewhere, would be drawn on the page
_KEPT_S = 30.0  # for which what many questions share is kept: a window that is over for two exports does not change much later


@st.cache_resource(show_spinner=False, max_entries=_OPEN)
def history(source: str, place: Selection = EVERYWHERE) -> CachedHistory:
    """Open the history of a source, one for the process, so that nothing is read twice.

    Args:
        source: `local` or `remote`.
        place: the processes that are chosen on the page, of those that OTEL_TTS_SELECT leaves.
    """
    settings = LiveSettings.load(prometheus_url="", jaeger_url="", tempo_url="") if source == "local" else LiveSettings.load()
    chosen = {**dict(place.attributes), **dict(settings.selection.attributes)}
    return CachedHistory(open_history(replace(settings, selection=Selection(tuple(sorted(chosen.items())))), _KEPT_S))


def main() -> None:
    """Draw everything once; from then on the page redraws itself."""
    st.set_page_config("otel-tts live", ICON, layout="wide", initial_sidebar_state="collapsed")
    st.html(f"<style>{tiles.STYLE}</style>")
    with st.container(key="script"):
        st.html(f"<script>{tiles.SCRIPT}</script>", unsafe_allow_javascript=True)
    st.logo(LOGO, size="large")
    chosen = st.navigation([_streamlit_page(page) for page in PAGES], position="top")
    chosen.run()


def _streamlit_page(page: Page) -> StreamlitPage:
    url = "" if page is PAGES[0] else page.title.lower()
    return st.Page(partial(draw, page), title=page.title, url_path=url, default=page is PAGES[0])


def draw(page: Page) -> None:
    """Draw a page with its controls; the part below them is redrawn at each refresh.

    Args:
        page: the page that is drawn.
    """
    _from_url(page)
    loading = st.empty()
    if st.session_state.get("drawn") != page.title:
        loading.html(tiles.notice("unknown", "Loading ...", f"Reading {_read(st.session_state.view).source}."))
    _controls(page)
    view: View = st.session_state.view
    _to_url(page)
    st.fragment(_part, run_every=None if view.chosen else REFRESHES[view.refresh])(page, view)
    loading.empty()
    st.session_state.drawn = page.title


def _from_url(page: Page) -> None:
    """Take over what the URL says when the page is opened, and when the browser went back or forward."""
    params = st.query_params.to_dict()
    if "view" not in st.session_state:
        st.session_state.view = View.parse(params)
    elif params != st.session_state.get("written") and (params or st.session_state.page == page.title):
        st.session_state.view = View.parse(params)
        st.session_state.generation = st.session_state.get("generation", 0) + 1
    st.session_state.page = page.title


def _controls(page: Page) -> None:
    """Draw the controls of every page: range, refresh and, where there are several, source, place and service; below, those of the page."""
    view: View = st.session_state.view
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        span = st.segmented_control("Range", list(RANGES), default=view.range, required=True, key=widget("range"))
        if span != view.range:
            view = replace(view, since="", until="")
        view = _chosen_time(view)
        every = st.selectbox("Refresh", list(REFRESHES), list(REFRESHES).index(view.refresh), key=widget("refresh"), width=110)
        view = _placed(replace(view, range=span, refresh=every, source=_source(view)))
        services = _services(view)
        view = replace(view, service=_service(view, services))
    if page.controls is not None:
        view = page.controls(view, services)
    st.session_state.view = view


def _chosen_time(view: View) -> View:
    """Draw the choice of a time of its own, in local time."""
    chosen = view.chosen
    shown = formatting.period(*chosen) if chosen else "Other time"
    with st.popover(shown, icon=":material/date_range:", key=widget("time")):
        now = datetime.now().replace(second=0, microsecond=0)  # noqa: DTZ005 - shown as it is here
        start, end = map(datetime.fromtimestamp, chosen) if chosen else (now - timedelta(hours=1), now)
        zone = formatting.zone(now.timestamp())
        first = st.datetime_input(f"From ({zone})", start, key=widget(f"since {view.since}"), step=60)
        last = st.datetime_input(f"To ({zone})", end, key=widget(f"until {view.until}"), step=60)
        if st.button("Show this time", key=widget("show")):
            if first >= last:
                st.error("The first moment must be before the last.")
            else:
                since, until = between(first.timestamp(), last.timestamp())
                st.session_state.view = replace(view, since=since, until=until)
                st.rerun()
    if chosen and st.button("Back to now", icon=":material/update:", key=widget("to now")):
        st.session_state.view = replace(view, since="", until="")
        st.rerun()
    return view


def _source(view: View) -> str:
    """Draw the choice of the source. There is none where there are local files only."""
    settings = LiveSettings.load()
    if not settings.has_backends:
        return View().source
    return st.segmented_control(
        "Source", list(SOURCES), default=view.source, format_func=SOURCES.__getitem__, required=True, key=widget("source")
    )


def _read(view: View) -> CachedHistory:
    return history(view.source, view.place)


def _placed(view: View) -> View:
    """Draw the choices of environment, cluster and namespace, each where there are several among what was chosen before."""
    try:
        source = history(view.source)
        places = source.places(source.shown(view))
    except SourceUnavailableError:
        return view  # the page says so
    for name in ("environment", "cluster", "namespace"):
        values = [place.value(PLACES[name]) or NAMELESS for place in places]
        chosen: str = getattr(view, name)
        if len(options := sorted({*values, chosen} - {""})) > 1 or chosen:
            all_and_each = ["", *options]
            chosen = st.selectbox(
                name.capitalize(),
                all_and_each,
                all_and_each.index(chosen),
                format_func=lambda value: value or "all",
                key=widget(name),
                width=160,
            )
        view = replace(view, **{name: chosen})
        places = [place for place, value in zip(places, values, strict=True) if chosen in ("", value)]
    return view


def _services(view: View) -> Sequence[Service]:
    """List the services that had requests."""
    try:
        source = _read(view)
        return source.services(source.shown(view))
    except SourceUnavailableError:
        return ()  # the page says so


def _service(view: View, services: Sequence[Service]) -> str:
    """Draw the choice of the service. There is none where there is one service only."""
    names = sorted({service.name for service in services} | ({view.service} - {""}))
    if len(names) < 2 and not view.service:
        return ""
    options = ["", *names]
    return st.selectbox(
        "Service", options, options.index(view.service), format_func=lambda name: name or "all", key=widget("service"), width=220
    )


def _part(page: Page, drawn_with: View) -> None:
    """Draw the part of a page that is redrawn at each refresh."""
    view: View = st.session_state.view
    source = _read(view)
    if view != drawn_with:
        st.rerun()  # what was chosen in it concerns the whole page
    period = source.shown(view)
    try:
        if source.began() is None:
            st.html(tiles.legend(source.source))
            st.html(tiles.notice("unknown", "No requests yet.", EMPTY))
            return
        st.html(_legend(source))
        for sentence in added_up(source.places(period), view.service):
            st.html(tiles.notice("unknown", sentence, "Choose one of them above."))
        notice = st.empty()
        has_figures = not page.interactive or received(source, period)
        if has_figures or page is PAGES[0]:  # the first page has conditions, too
            page.draw(source, period, view, LiveSettings.load())
        if not has_figures:
            st.html(tiles.notice("unknown", "Nothing was received in this time range.", UNKNOWN))
        elif page.interactive and not source.total(period, service=view.service).request_count:  # it was asked for already
            only = only_background(source, period.start, period.now, "In this time range", view.service)
            if only is not None:
                notice.html(tiles.notice("unknown", only, f"Trends shows them: `{semconv.BACKGROUND_DURATION.name}`."))
        _to_url(page)
    except FiguresUnknownError as refused:
        others = "" if view.service else " Figures of another service are there when it is chosen above."
        st.html(tiles.notice("unknown", "These figures are unknown.", f"{refused}{others}"))
    except SourceUnavailableError as away:
        st.html(tiles.legend(source.source, palette.BAD))
        moment = formatting.clock(away.since)
        words = f"has not answered since {moment}" if away.answered else f"does not answer; it was first asked at {moment}"
        st.html(tiles.notice("bad", f"The source {words}.", str(away)))


def _legend(source: CachedHistory) -> str:
    """Say where figures come from, and how old the newest telemetry is."""
    now, newest = source.now, source.newest()
    read = f"{source.source} · read at {formatting.clock(now)} {formatting.zone(now)}"
    if newest is None:
        return tiles.legend(f"{read} · no metrics within a day", palette.BAD)
    age_s = now - newest
    if is_ahead(age_s):
        return tiles.legend(f"{read} · newest telemetry {formatting.elapsed(-age_s)} ahead of this clock", palette.BAD)
    late = is_late(age_s, source.interval)
    arrived = f"newest telemetry {formatting.elapsed(age_s)} old" + (f", of {formatting.date(newest)}" if late else "")
    return tiles.legend(f"{read} · {arrived}", palette.BAD if late else palette.GOOD)


def _to_url(page: Page) -> None:
    view: View = st.session_state.view
    wanted = view.params(page.params)
    if wanted != st.query_params.to_dict():
        st.query_params.from_dict(wanted)
    st.session_state.written = wanted


_MARK = '<g stroke="#2E86C1" stroke-width="4" stroke-linecap="round"><path d="M6 14v4M13 7v18M20 11v10M27 14v4"/></g>'
ICON = f'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">{_MARK}</svg>'
LOGO = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="132" height="32" viewBox="0 0 132 32">{_MARK}'
    '<text x="38" y="23" font-family="sans-serif" font-size="20" font-weight="600" fill="#2E86C1">otel-tts</text></svg>'
)
UNKNOWN = "Its figures are unknown: choose a longer time."
EMPTY = "`otel-tts verify` sends requests to a running service (`otel-tts serve`); `otel-tts demo` does both. They appear without a reload."

if __name__ == "__main__":
    main()
