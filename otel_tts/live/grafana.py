"""The way to a trace in Grafana."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from otel_tts.history import Trace

_TEMPO = "tempo"  # the data source's uid, as it is provisioned
_AROUND = 300  # seconds before and after


def trace_link(url: str, trace: Trace) -> str:
    """Grafana's Explore with the trace (https://grafana.com/docs/grafana/latest/explore/get-started-with-explore/#generate-explore-urls-from-external-tools)."""
    start, end = min(root.start for root in trace.roots), max(span.end for _, span in trace.walk())
    query = {"refId": "A", "datasource": {"type": "tempo", "uid": _TEMPO}, "queryType": "traceql", "query": trace.trace_id}
    around = {"from": f"{(start - _AROUND) * 1000:.0f}", "to": f"{(end + _AROUND) * 1000:.0f}"}
    pane = {"trace": {"datasource": _TEMPO, "queries": [query], "range": around}}
    return f"{url}/explore?{urlencode({'schemaVersion': 1, 'panes': json.dumps(pane)})}"
