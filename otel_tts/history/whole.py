"""Whether an answer of Prometheus's API is complete: how each engine is asked for complete answers, and how it reports a partial one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WHOLE: Mapping[str, str] = {"partial_response": "false", "deny_partial_response": "1"}
"""Parameters that have Thanos and VictoriaMetrics fail rather than leave something out; others do not know them."""
PART = "a part of the metrics"


def missing_because(reply: Any) -> str | None:
    """Why an answer is not whole, in the server's words; None when it is whole, as far as it says.

    Prometheus and Thanos give ``warnings``: of a store that is away, or of samples that a query had to leave out. VictoriaMetrics
    says ``isPartial``.

    Args:
        reply: a JSON value.
    """
    match reply:
        case {"warnings": warnings} | {"data": {"warnings": warnings}} if warnings:
            return "; ".join(map(str, warnings)) if isinstance(warnings, list) else str(warnings)
        case {"isPartial": is_partial} if is_partial not in (False, None):
            return "a storage node is away"
    return None
