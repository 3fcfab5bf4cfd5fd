"""Columns: what is compared with the reference, within which group of requests, and how much of a change matters.

Speech gets longer with its text, and short texts sound otherwise than long ones. So what an engine does is compared with what it did
for texts of about that length: each value is taken relative to the reference's median of its group and text-length bin, and all
bins of a group are judged together. A bin spans a factor of 1.5, which a change of texts alone cannot turn into more.

The middle of a measure says nothing of the few requests that take very long, so of performance the tail is a measure too: the share
of requests that are slow by what the reference calls slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from otel_tts.report.sample import Sample
from otel_tts.semconv import CACHE_ASKED, MADE_BY_PROVIDER, NONE, CacheResult, Outcome

if TYPE_CHECKING:
    import numpy as np
    import pandas

Family = Literal["performance", "audio", "traffic"]
BIN = 1.5
"""Each text-length bin ends at this many times its beginning."""
BIN_LEAST = 5
"""Rows of the reference below which a bin is nothing to compare with."""
_EXPANDED = 5_000  # values that counts are written out as


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that is compared.

    unit: as in texts for people. limit: how far the middle (the median, or for shares the mean) may move: a factor if relative,
    else so much in either direction. better: which direction is good news, if one is. counted: of the share of events, what counts.
    """

    name: str
    family: Family
    unit: str
    limit: float
    relative: bool = False
    mean: bool = False
    better: Literal["lower", "higher", ""] = ""
    counted: str = ""


LATENCY = Measure("latency", "performance", "s", 1.5, relative=True, better="lower")
FIRST_AUDIO = Measure("first_audio", "performance", "s", 1.5, relative=True, better="lower")
REAL_TIME_FACTOR = Measure("real_time_factor", "performance", "", 1.5, relative=True, better="lower")
TAILS = {
    measure: Measure(f"{measure.name}_tail", "performance", "share", 0.05, mean=True, better="lower", counted="slow")
    for measure in (LATENCY, FIRST_AUDIO, REAL_TIME_FACTOR)
}
FAILURES = Measure("failures", "performance", "share", 0.05, mean=True, better="lower", counted="failed")
LOUDNESS = Measure("loudness", "audio", "dB below full scale", 2.0)
SPEAKING_RATE = Measure("speaking_rate", "audio", "characters/s", 1.2, relative=True)
SILENCE_RATIO = Measure("silence_ratio", "audio", "share", 0.15)
CLIPPING_RATIO = Measure("clipping_ratio", "audio", "share", 0.01, mean=True, better="lower")
TRAILING_SILENCE = Measure("trailing_silence", "audio", "s", 0.25)
SCORE = Measure("score", "audio", "", 1.1, relative=True, mean=True, better="higher")
CHARACTERS = Measure("characters", "traffic", "characters", 1.3, relative=True)
LANGUAGE = Measure("language", "traffic", "mix", 0.2)
VOICE = Measure("voice", "traffic", "mix", 0.2)
HIT_RATE = Measure("hit_rate", "traffic", "share", 0.15, mean=True, counted="hit")

_ROWS: Mapping[Measure, str] = {
    LATENCY: "duration",
    FIRST_AUDIO: "ttfa",
    REAL_TIME_FACTOR: "rtf",
    LOUDNESS: "loudness",
    SPEAKING_RATE: "speaking_rate",
    SILENCE_RATIO: "silence_ratio",
    CLIPPING_RATIO: "clipping_ratio",
    TRAILING_SILENCE: "trailing_silence",
}
_SLOW = 0.95  # the quantile of the reference beyond which the tail lies
_ANY = "any"  # nothing was asked for
_ENGINE = ["provider", "model", "voice"]


@dataclass(frozen=True, slots=True)
class Column:
    """One measure of one group: the values that are compared.

    current, reference: numbers, categories, or for shares whether each counts. middle: that of the reference, in the measure's unit.
    Relative values are multiples of it.
    """

    measure: Measure
    provider: str
    group: str
    current: np.ndarray
    reference: np.ndarray
    middle: float

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.measure.name} of {self.group}" if self.group else self.measure.name

    @property
    def title(self) -> str:
        """For Evidently's pages: the name, and what its values are."""
        if self.measure.relative:
            return f"{self.name}, relative to the reference's {'mean' if self.measure.mean else 'median'}"
        return f"{self.name}, share that is {self.measure.counted}" if self.measure.counted else self.name


def engine_columns(current: Sample, reference: Sample) -> Iterator[Column]:
    """Performance and audio, for each group that either sample has.

    Args:
        current: the sample that is judged.
        reference: the sample that it is compared with.
    """
    now, then = _spoken(current), _spoken(reference)
    for measure, name in _ROWS.items():
        by = [*_ENGINE, "language"] if measure.family == "audio" else _ENGINE
        for column in _of_rows(measure, name, by, now, then):
            yield column
            if measure in TAILS:
                yield _tail(column)
    yield from _failures(current, reference)
    yield from _scores(current, reference)


def traffic_columns(current: Sample, reference: Sample) -> Iterator[Column]:
    """The columns of what callers asked for, which no engine influences.

    Args:
        current: the sample that is judged.
        reference: the sample that it is compared with.
    """
    import numpy as np

    now, then = (frame[frame.outcome != Outcome.REJECTED] for frame in (current.frame(), reference.frame()))
    for measure, name in ((CHARACTERS, "characters"), (LANGUAGE, "language"), (VOICE, "voice")):
        columns = [frame[name].dropna().to_numpy(float) if measure is CHARACTERS else frame[name].fillna("none").to_numpy(str)
                   for frame in (now, then)]  # fmt: skip
        middle = float(np.median(columns[1])) if measure is CHARACTERS and len(columns[1]) else 0.0
        if measure is CHARACTERS and middle:
            columns = [values / middle for values in columns]
        yield Column(measure, NONE, "", columns[0], columns[1], middle)
    hits = [(frame.cache_result[frame.cache_result.isin(CACHE_ASKED)] == CacheResult.HIT).to_numpy(bool) for frame in (now, then)]
    yield Column(HIT_RATE, NONE, "", hits[0], hits[1], float(hits[1].mean()) if len(hits[1]) else 0.0)


def _spoken(sample: Sample) -> pandas.DataFrame:
    """The requests that an engine spoke for, each by itself: no other's failed attempt and no cache has a part in them."""
    import numpy as np

    frame = sample.frame()
    frame = frame[frame.outcome.eq(Outcome.OK) & frame.cache_result.isin(MADE_BY_PROVIDER)]
    frame = frame[frame.attempts.eq(1) & frame.characters.gt(0)].copy()
    for name in (*_ENGINE, "language"):
        frame[name] = frame[name].fillna(_ANY).astype(str)
    frame["bin"] = np.floor(np.log(frame.characters.astype(float)) / np.log(BIN)).astype(int)
    frame["stream"] = frame.stream.fillna(False).astype(bool)
    for name in ("duration", "ttfa"):  # who waits for a free engine waits for others, not for this one
        frame[name] = frame[name].astype(float) - frame.queue_wait.astype(float).fillna(0.0)
    frame.loc[frame.stream, "duration"] = np.nan  # a stream lasts as long as its listener takes
    return frame


def _of_rows(measure: Measure, name: str, by: Sequence[str], now: pandas.DataFrame, then: pandas.DataFrame) -> Iterator[Column]:
    now, then = (frame.assign(value=frame[name].astype(float)).dropna(subset=["value"]) for frame in (now, then))
    bins = then.groupby([*by, "bin"]).value.agg(["median", "size"])
    usual = bins[bins["size"] >= BIN_LEAST]["median"].rename("usual").reset_index()
    now, then = (frame.merge(usual, on=[*by, "bin"]) for frame in (now, then))
    middles = then.groupby(list(by)).value.mean() if measure.mean else then.groupby(list(by)).value.median()
    for frame in (now, then):
        if measure.relative:
            frame["value"] = frame.value / frame.usual.where(frame.usual > 0)
        elif not measure.mean:
            frame["value"] += middles.reindex(frame.set_index(list(by)).index).to_numpy() - frame.usual
    current = {key: frame.value.dropna().to_numpy() for key, frame in now.groupby(list(by))}
    for key, frame in then.groupby(list(by)):
        empty = frame.value.to_numpy()[:0]
        yield Column(measure, key[0], _group(*key), current.get(key, empty), frame.value.dropna().to_numpy(), float(middles[key]))


def _tail(column: Column) -> Column:
    """Which requests of a group are slow: the measure's limit beyond the reference's 95th percentile.

    A middle that got worse is taken out, for it is said by itself: a voice that is slower throughout has no longer tail.
    """
    import numpy as np

    now, then = column.current, column.reference
    if not len(now) or not len(then):
        return replace(column, measure=TAILS[column.measure], current=now > 0, reference=then > 0, middle=0.0)
    slow = np.quantile(then, _SLOW) * column.measure.limit
    current, reference = now > slow * max(1.0, np.median(now) / np.median(then)), then > slow
    return replace(column, measure=TAILS[column.measure], current=current, reference=reference, middle=float(reference.mean()))


def _group(provider: str, model: str, voice: str, language: str = "") -> str:
    """A group by name: what says nothing new is left out."""
    names = " / ".join(name for name in dict.fromkeys((provider, model, voice)) if name != _ANY)
    return f"{names} ({language})" if language not in ("", _ANY) else names


def _failures(current: Sample, reference: Sample) -> Iterator[Column]:
    import numpy as np

    def failed(sample: Sample, provider: str) -> np.ndarray:
        succeeded, judged = sample.attempts.get(provider, (0, 0))
        count = min(judged, _EXPANDED)
        failures = round((judged - succeeded) / judged * count) if judged else 0
        return np.repeat([True, False], [failures, count - failures])

    for provider in sorted(current.attempts.keys() & reference.attempts.keys()):
        then = failed(reference, provider)
        yield Column(FAILURES, provider, provider, failed(current, provider), then, float(then.mean()))


def _scores(current: Sample, reference: Sample) -> Iterator[Column]:
    import numpy as np

    for score, voice in sorted(current.scores.keys() & reference.scores.keys()):
        now, then = (
            np.repeat(list(buckets), list(buckets.values()))
            for buckets in (current.scores[score, voice], reference.scores[score, voice])
        )
        middle = float(then.mean())
        scale = middle or 1.0
        yield Column(SCORE, NONE, f"{score} on {voice}", now / scale, then / scale, middle)
