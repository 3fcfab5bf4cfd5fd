"""Queries to Prometheus, or to what answers its API: an answer is whole, or an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

from otel_tts.history import otlp
from otel_tts.history.http import Backend
from otel_tts.history.otlp import Unreadable
from otel_tts.history.stores import Stores
from otel_tts.history.whole import PART, WHOLE, missing_because

T = TypeVar("T")
_AT_ONCE = 4
"""Questions that are asked at the same time."""

Labels = Mapping[str, str]
Sample = tuple[int, Labels, float]
"""The number of a window, the labels of a series, and its value there."""


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """One series of an answer: its labels, and its values by time (seconds since the Unix epoch). There is a value, and each is finite."""

    labels: Labels
    values: Sequence[tuple[float, float]]


class QueryEngine:
    """What evaluates PromQL.

    Args:
        backend: how it is reached.
        stores_away: how many of Thanos's stores may be away without anything missing.

    Raises:
        HistoryUnavailableError: from every method, when it does not answer, not as it should, or only in part.
    """

    def __init__(self, backend: Backend, stores_away: int = 0) -> None:
        self._backend = backend
        self._stores = Stores(backend, stores_away)
        self.unreadable = Unreadable()
        """What it answered and could not be read."""

    @property
    def name(self) -> str:
        """What it is, for people, to begin a sentence with."""
        return f"{self._backend.name[0].upper()}{self._backend.name[1:]}"

    @property
    def is_thanos(self) -> bool:
        """Whether it is Thanos, which makes up for what was reset in the samples that it gives to some functions."""
        return self._stores.is_thanos

    def each(self, query: str, moments: Sequence[float], later_s: float = 0.0) -> list[Sample]:
        """Evaluate a query at the end of each window between the moments. Windows without a value are not in the answer.

        Prometheus counts in milliseconds. What is lost by rounding is lost at the earliest windows.

        Args:
            query: in PromQL.
            moments: the ends of the windows, evenly spaced, in seconds since the Unix epoch.
            later_s: how much later than the ends it is evaluated, in seconds.
        """
        windows = len(moments) - 1
        step, end = round(1000 * (moments[1] - moments[0])), round(1000 * (moments[-1] + later_s))
        start = end - (windows - 1) * step
        times = {"start": _written(start / 1000), "end": _written(end / 1000), "step": _written(step / 1000)}
        samples: list[Sample] = []
        for answer in self._asked("query_range", {"query": query, **times}):
            for time, value in answer.values:
                number = round((1000 * time - start) / step)
                if 0 <= number < windows:
                    samples.append((number, answer.labels, value))
                else:  # nobody asked for that time
                    self.unreadable.count += 1
        return samples

    def at(self, query: str, moment: float) -> list[StoredSeries]:
        """Evaluate a query at one moment.

        Args:
            query: in PromQL.
            moment: in seconds since the Unix epoch.
        """
        return self._asked("query", {"query": query, "time": _written(moment)})

    def together(self, questions: Sequence[Callable[[], T]]) -> list[T]:
        """Ask questions at the same time, and give their answers in order.

        Args:
            questions: each asks this engine.
        """
        with ThreadPoolExecutor(min(_AT_ONCE, max(len(questions), 1)), "otel-tts-history") as askers:
            return [asked.result() for asked in [askers.submit(question) for question in questions]]

    def _asked(self, path: str, parameters: Mapping[str, str | float]) -> list[StoredSeries]:
        answers = []
        for item in self.result(path, parameters):
            try:
                answer = _answer(item)
            except otlp.FAULTS:
                self.unreadable.count += 1
                continue
            if any(
                not isfinite(value) for _, value in answer.values
            ):  # what somebody exported: no arithmetic makes a number of it
                finite = [(time, value) for time, value in answer.values if isfinite(value)]
                self.unreadable.count += len(answer.values) - len(finite)
                answer = StoredSeries(answer.labels, finite)
            if answer.values:
                answers.append(answer)
        return answers

    def result(self, path: str, parameters: Mapping[str, str | float]) -> Sequence[Any]:
        """Ask a path of the API, and give the series of its answer, as JSON.

        Args:
            path: below ``/api/v1/``.
            parameters: of the request.
        """
        reply = self._backend.get(f"/api/v1/{path}", {**parameters, **WHOLE})
        if (reason := missing_because(reply)) is not None:
            raise self._backend.incomplete(PART, reason)
        match reply:
            case {"status": "success", "data": {"result": list(result)}}:
                if (reason := self._stores.missing_because()) is not None:
                    raise self._backend.incomplete(PART, reason)
                return result
        raise self._backend.unavailable("does not answer as Prometheus does", "Is that the address of its API?")


def _answer(item: Mapping[str, Any]) -> StoredSeries:
    labels = {otlp.text(name): otlp.text(value) for name, value in item["metric"].items()}
    histograms = [(time, value["count"]) for time, value in item.get("histograms", ())]
    values = histograms or (item["values"] if "values" in item else [item["value"]])
    return StoredSeries(labels, [(otlp.number(time), float(value)) for time, value in values])


def _written(seconds: float) -> str:
    return f"{seconds:.3f}"
