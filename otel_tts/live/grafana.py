"""Links to traces in Grafana."""

from __future__ import annotations

import json
from typing import Literal
from urllib.parse import urlencode

from otel_tts.history import Trace

_AROUND = 300  # seconds before and after


def trace_link(url: str, trace: Trace, kind: Literal["jaeger", "tempo"]) -> str:
    """Return the address of Grafana's Explore with the trace.

    Its form: https://grafana.com/docs/grafana/latest/explore/get-started-with-explore/#generate-explore-urls-from-external-tools.
    Grafana's data source for Jaeger takes a query without a type for a trace's id.

    Args:
        url: of Grafana.
        trace: the trace.
        kind: of the data source, which is its uid too, as it is provisioned.
    """
    start, end = min(root.start for root in trace.roots), max(span.end for _, span in trace.walk())
    query = {"refId": "A", "datasource": {"type": kind, "uid": kind}, "query": trace.trace_id}
    if kind == "tempo":
        query["queryType"] = "traceql"
    around = {"from": f"{(start - _AROUND) * 1000:.0f}", "to": f"{(end + _AROUND) * 1000:.0f}"}
    pane = {"trace": {"datasource": kind, "queries": [query], "range": around}}
    return f"{url}/explore?{urlencode({'schemaVersion': 1, 'panes': json.dumps(pane)})}"
