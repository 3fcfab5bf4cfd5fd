"""Samples: what judgements are made of. Facts of single requests, as many as are useful, and counts where counts are enough."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_tts.history import History, Request, RequestFilter
from otel_tts.report.window import Window
from otel_tts.semconv import FAILURES

if TYPE_CHECKING:
    import pandas

MOST = 20_000
"""Requests that a sample keeps: judgements gain nothing from more."""
WORST = 10
"""Requests of a window that are shown one by one."""
_COMPLETE = 0.99

FACTS = (
    "version", "outcome", "provider", "model", "voice", "language", "stream", "cache_result", "characters", "attempts",
    "duration", "ttfa", "queue_wait", "rtf", "loudness", "silence_ratio", "clipping_ratio", "speaking_rate", "trailing_silence",
)  # fmt: skip
"""The fields of a `Request` that are the columns of a sample."""

Facts = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """The facts of the requests of a period.

    requests: how many ended, by the metrics that count them. rows: by span id, the facts of each, or of `MOST` of them that chance
    chose, always the same ones. spans: how many there were spans of. sampled: whether spans are missing, so that rows would
    mislead. attempts: by provider, how many went well, and how many there were that can be judged. scores: of each quality model
    (first) on each voice (second), how many values there were in each bucket, by its middle. worst: `WORST` requests that failed,
    or took longest.
    """

    requests: int = 0
    spans: int = 0
    sampled: bool = False
    rows: Mapping[str, Facts] = field(default_factory=dict)
    attempts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    scores: Mapping[tuple[str, str], Mapping[float, int]] = field(default_factory=dict)
    worst: tuple[Request, ...] = ()

    def frame(self) -> pandas.DataFrame:
        """The rows as a table, with a column for each of `FACTS`; none when they would mislead."""
        import pandas

        return pandas.DataFrame([] if self.sampled else [self.rows[span] for span in sorted(self.rows)], columns=list(FACTS))


def take(history: History, window: Window, service: str, version: str | None = None) -> Sample:
    """The sample of a window, read in one pass over its requests.

    Counts know the time of a request to within the interval of exports. Spans are complete when their number is within 1% of a
    number that the counts allow.

    Args:
        history: the telemetry that is read.
        window: the window.
        service: the name of the service.
        version: its version; None: every version.
    """
    counted = next((s for s in history.services(window.start, window.end, version=version) if s.name == service), None)
    wanted = RequestFilter(service=service, version=version, ended_since=window.start - history.interval, ended_before=window.end)
    kept: list[tuple[int, str, Facts]] = []  # a heap: the largest id is first to go
    worst: list[tuple[bool, float, str, Request]] = []
    before = within = edge = 0
    for request in history.every_request(wanted):
        if not request.interactive:
            continue  # the counts leave it out, too
        if request.end < window.start:
            before += 1
            continue
        within += 1
        edge += request.end >= window.end - history.interval
        chance = -int(request.span_id, 16)
        if len(kept) < MOST:
            heapq.heappush(kept, (chance, request.span_id, facts(request)))
        elif chance > kept[0][0]:
            heapq.heapreplace(kept, (chance, request.span_id, facts(request)))
        badness = request.outcome in FAILURES, request.duration, request.span_id, request
        if len(worst) < WORST:
            heapq.heappush(worst, badness)
        elif badness[:3] > worst[0][:3]:
            heapq.heapreplace(worst, badness)
    requests = counted.requests if counted else 0
    return Sample(
        requests=requests,
        spans=within,
        sampled=within + before < _COMPLETE * requests or _COMPLETE * (within - edge) > requests,
        rows={span: row for _, span, row in kept},
        attempts=counted.attempts if counted else {},
        scores={key: distribution.middles() for key, distribution in counted.scores.items()} if counted else {},
        worst=tuple(request for *_, request in sorted(worst, reverse=True, key=lambda bad: bad[:3])),
    )


def facts(request: Request) -> Facts:
    """A row.

    Args:
        request: the request.
    """
    return tuple(getattr(request, name) for name in FACTS)


def merged(samples: Iterable[Sample]) -> Sample:
    """Merge samples. If one of them is misleading, so is the result.

    Args:
        samples: of the same service.
    """
    parts = list(samples)
    rows = {span: row for part in parts for span, row in part.rows.items()}
    attempts: dict[str, tuple[int, int]] = {}
    scores: dict[tuple[str, str], dict[float, int]] = {}
    for part in parts:
        for provider, (succeeded, judged) in part.attempts.items():
            counts = attempts.get(provider, (0, 0))
            attempts[provider] = counts[0] + succeeded, counts[1] + judged
        for key, buckets in part.scores.items():
            for middle, count in buckets.items():
                of_key = scores.setdefault(key, {})
                of_key[middle] = of_key.get(middle, 0) + count
    return Sample(
        requests=sum(part.requests for part in parts),
        spans=sum(part.spans for part in parts),
        sampled=any(part.sampled for part in parts),
        rows={span: rows[span] for span in heapq.nsmallest(MOST, rows)},
        attempts=attempts,
        scores=scores,
    )
