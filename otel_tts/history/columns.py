"""Requests as columns: many at once, small, searched without touching each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_tts.history.requests import FIELDS, Problem, Request, RequestFilter, asked
from otel_tts.semconv import FAILURES

Column = npt.NDArray[Any]
_IDS = {"trace_id": 32, "span_id": 16}  # hexadecimal digits
_TYPES = {field.name: str(field.type).removesuffix(" | None") for field in fields(Request)}
_NAMES = {name: f"{name}.values" for name, kind in _TYPES.items() if kind == "str" and name not in _IDS}


class Columns:
    """Requests, in the order in which they were written.

    Text is kept as numbers of a list of values; what is not known is NaN, and -1 where that is no number.

    Attributes:
        arrays: by field, and the list of values beside a field of text.
    """

    def __init__(self, arrays: Mapping[str, Column]) -> None:
        self.arrays = arrays

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any]]) -> Columns:
        """Build from the fields of each request, in their order.

        Args:
            rows: of requests, each with the values of all fields.
        """
        return cls.from_values(list(zip(*rows, strict=True)) if rows else [()] * len(_TYPES), range(len(rows)))

    @classmethod
    def from_values(cls, values: Sequence[Sequence[Any]], order: Sequence[int]) -> Columns:
        """Build from the values of each field, in the order of fields.

        Args:
            values: as many of each field.
            order: the number of each request.
        """
        arrays: dict[str, Column] = {}
        places = np.argsort(np.array(order, dtype=np.intp), kind="stable")
        for name, of_field in zip(_TYPES, values, strict=True):
            arrays |= _column(name, of_field)
            arrays[name] = arrays[name][places]
        return cls(arrays)

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        """Join several, one after the other.

        Args:
            parts: in their order.
        """
        if len(parts) == 1:
            return parts[0]
        arrays: dict[str, Column] = {}
        for name in _TYPES:
            if name in _NAMES:
                texts, codes = _joined([(part.arrays[_NAMES[name]], part.arrays[name]) for part in parts])
                arrays |= {name: codes, _NAMES[name]: texts}
            else:
                arrays[name] = np.concatenate([part.arrays[name] for part in parts])
        return cls(arrays)

    @classmethod
    def load(cls, arrays: Mapping[str, Column]) -> Columns:
        """Build from what `arrays` gave. Raises KeyError or ValueError for anything else.

        Args:
            arrays: one for each field.
        """
        return cls({name: arrays[name] for name in (*_TYPES, *_NAMES.values())})

    @property
    def size(self) -> int:
        """The number of bytes in memory."""
        return sum(array.nbytes for array in self.arrays.values())

    def __len__(self) -> int:
        return len(self.arrays["start"])

    def wanted(self, filter: RequestFilter) -> npt.NDArray[np.intp]:
        """The numbers of the requests that a filter holds for.

        Args:
            filter: which requests.
        """
        start, duration = self.arrays["start"], self.arrays["duration"]
        holds = np.ones(len(self), dtype=bool)
        for name in ("outcome", "error_type", "voice", "service", "version", "conversation", "kind"):
            if (value := getattr(filter, name)) is not None:
                holds &= self._is(name, value)
        if (provider := filter.provider) is not None:
            failed = [asked(provider, names) for names in (*self.arrays[_NAMES["failed_providers"]].tolist(), None)]
            holds &= self._is("provider", provider) | np.array(failed)[self.arrays["failed_providers"]]
        if filter.problem is not None:
            holds &= self._with(filter.problem)
        for key, value in filter.where:
            holds &= self._having(key, value)
        if filter.slower_than is not None:
            holds &= duration > filter.slower_than
        if filter.since is not None:
            holds &= start >= filter.since
        if filter.until is not None:
            holds &= start <= filter.until
        if filter.ended_since is not None:
            holds &= start + duration >= filter.ended_since
        if filter.ended_before is not None:
            holds &= start + duration < filter.ended_before
        return np.flatnonzero(holds)

    def _is(self, name: str, value: str) -> npt.NDArray[np.bool_]:
        """Which requests have this value in a field of text."""
        [codes] = np.nonzero(self.arrays[_NAMES[name]] == value)
        return np.isin(self.arrays[name], codes)

    def _with(self, problem: Problem) -> npt.NDArray[np.bool_]:
        """Which requests have a problem; see `Problem`."""
        if problem is Problem.GAPS:
            return np.asarray(self.arrays["underrun"] > 0)
        [codes] = np.nonzero(np.isin(self.arrays[_NAMES["outcome"]], sorted(FAILURES)))
        failed = np.isin(self.arrays["outcome"], codes)
        return failed if problem is Problem.FAILED else failed | (self.arrays["fallback_used"] > 0)

    def _having(self, key: str, value: str) -> npt.NDArray[np.bool_]:
        """Which requests have an attribute with this value, as text. Each distinct value is compared once."""
        name = FIELDS.get(key, "own")
        _, examples, kinds = np.unique(self.arrays[name], return_index=True, return_inverse=True)
        return np.array([request.text_of(key) == value for request in self.requests(examples)], dtype=bool)[kinds]

    def latest(self, filter: RequestFilter, limit: int) -> Iterator[Request]:
        """The matching requests that ended last, newest first.

        Args:
            filter: which requests.
            limit: the most of them.
        """
        chosen = self.wanted(filter)
        ends = (self.arrays["start"] + self.arrays["duration"])[chosen]
        return self.requests(chosen[np.argsort(-ends, kind="stable")[:limit]])

    def requests(self, chosen: npt.NDArray[np.intp]) -> Iterator[Request]:
        """The requests with those numbers.

        Args:
            chosen: indices of requests.
        """
        return (Request(*row) for row in zip(*(self._values(name, chosen) for name in _TYPES), strict=True))

    def _values(self, name: str, chosen: npt.NDArray[np.intp]) -> list[Any]:
        values = self.arrays[name][chosen].tolist()
        match _TYPES[name]:
            case "str" if name in _IDS:
                return [value.decode() for value in values]
            case "str":
                texts = [*self.arrays[_NAMES[name]].tolist(), None]
                return [texts[code] for code in values]
            case "bool":
                return [None if value < 0 else bool(value) for value in values]
            case "int":
                return [None if value != value else int(value) for value in values]
        return [None if value != value else value for value in values]


def _column(name: str, values: Sequence[Any]) -> dict[str, Column]:
    match _TYPES[name]:
        case "str" if name in _IDS:
            return {name: np.array(values, dtype=f"S{_IDS[name]}")}
        case "str":
            numbers: dict[str, int] = {}
            codes = [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values]
            return {name: np.array(codes, dtype=np.int32), _NAMES[name]: np.array(list(numbers), dtype=str)}
        case "bool":
            return {name: np.array([-1 if value is None else value for value in values], dtype=np.int8)}
    return {name: np.array(values, dtype=np.float64)}  # None is NaN


def _joined(parts: Sequence[tuple[Column, Column]]) -> tuple[Column, Column]:
    numbers: dict[str, int] = {}
    joined = []
    for texts, codes in parts:
        renamed = np.array([*(numbers.setdefault(text, len(numbers)) for text in texts.tolist()), -1], dtype=np.int32)
        joined.append(renamed[codes])
    return np.array(list(numbers), dtype=str), np.concatenate(joined)
