"""References: what a window is compared with."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from otel_tts import formatting
from otel_tts.errors import OtelTtsError
from otel_tts.history import History
from otel_tts.report.profile import Profiles
from otel_tts.report.runs import Runs
from otel_tts.report.sample import MOST, Sample, merged, take
from otel_tts.report.window import Window

LAST_WEEK = "last-7d"
_WEEK = 7 * 86400.0


class UnknownReferenceError(OtelTtsError):
    """There is no such reference. The message says which there are."""


class Reference(Protocol):
    """Something to compare windows of one service with."""

    @property
    def name(self) -> str:
        """The name, as it was given."""

    def sample(self, window: Window) -> Sample | None:
        """What ``window`` is compared with; None when there is nothing yet."""

    def learn(self, window: Window, sample: Sample) -> None:
        """Take over the sample of a window that was read, so that it is not read twice.

        Args:
            window: the window.
            sample: the sample of requests.
        """


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same for every window, but for those that are part of it."""

    name: str
    what: Sample
    start: float = 0.0
    end: float = 0.0

    def sample(self, window: Window) -> Sample | None:
        """See `Reference.sample`.

        Args:
            window: the window.
        """
        return None if self.start < window.end and window.start < self.end else self.what

    def learn(self, window: Window, sample: Sample) -> None:
        """See `Reference.learn`: nothing changes.

        Args:
            window: the window.
            sample: the sample of requests.
        """


class LastWeek:
    """The windows of the seven days before, without those that were judged drifted: else a fault would soon be the rule.

    The newest are taken first, until there are as many requests as a sample holds.

    Args:
        runs: of MLflow.
        taken: takes the sample of a window.
        service: the name of the service.
    """

    name = LAST_WEEK

    def __init__(self, runs: Runs, taken: Callable[[Window], Sample], service: str) -> None:
        self._runs = runs
        self._taken = taken
        self._service = service
        self._last_taken: dict[Window, Sample] = {}

    def sample(self, window: Window) -> Sample | None:
        """See `Reference.sample`.

        Args:
            window: the window.
        """
        samples: dict[Window, Sample] = {}
        rows = 0
        for earlier, judgement in self._runs.windows(self._service, window.width_s, window.start - _WEEK, window.start):
            if judgement == "drifted":
                continue
            sample = self._last_taken.get(earlier) or self._taken(earlier)
            if not sample.sampled:
                samples[earlier] = sample
                rows += len(sample.rows)
            if rows >= MOST:
                break
        self._last_taken = samples  # the next window takes most of them again
        return merged(samples.values()) if samples else None

    def learn(self, window: Window, sample: Sample) -> None:
        """See `Reference.learn`.

        Args:
            window: the window.
            sample: the sample of requests.
        """
        self._last_taken[window] = sample


def resolve(given: str, history: History, profiles: Profiles, runs: Runs | None, service: str) -> Reference:
    """The reference that ``given`` names: ``last-7d``, ``version:1.2``, ``profile:NAME`` or ``range:START..END``.

    Args:
        given: `last-7d`, `version:1.2`, `profile:NAME` or `range:START..END`.
        history: the telemetry that is read.
        profiles: that are saved.
        runs: of MLflow; None: ranges of runs cannot be used.
        service: the name of the service.

    Raises:
        UnknownReferenceError: it names nothing there is.
        ValueError: it is none of these.
    """
    kind, _, name = given.partition(":")
    match kind:
        case "last-7d" if runs is not None and not name:
            return LastWeek(runs, lambda window: take(history, window, service), service)
        case "version" if name:
            return Fixed(given, of_version(history, service, name))
        case "profile" if name:
            sample = profiles.load(name)
            if sample is None:
                raise UnknownReferenceError(
                    f"There is no profile {name!r}, {_those(profiles.names())}. Save one with "
                    f"`otel-tts report reference save {name}`."
                )
            return Fixed(given, sample)
        case "range" if name:
            start, end = span(name)
            sample = take(history, Window(start, end), service)
            if not sample.requests and not sample.spans:
                raise UnknownReferenceError(
                    f"There were no requests to {service} from {formatting.utc(start)} to {formatting.utc(end)}."
                )
            return Fixed(f"range:{formatting.utc(start)}..{formatting.utc(end)}", sample, start, end)
    raise ValueError(f"{given!r} is no reference: it takes last-7d, version:VERSION, profile:NAME or range:START..END.")


def of_version(history: History, service: str, version: str) -> Sample:
    """All samples of one version of a service.

    Args:
        history: the telemetry that is read.
        service: the name of the service.
        version: of the service.

    Raises:
        UnknownReferenceError: nothing is.
    """
    whole = Window(history.began or 0.0, time.time() + history.interval)
    sample = take(history, whole, service, version)
    if not sample.requests and not sample.spans:
        versions = [
            v or "(none given)" for s in history.services(whole.start, whole.end) if s.name == service for v in s.versions
        ]
        raise UnknownReferenceError(f"There is no telemetry of version {version!r} of {service}, {_those(versions)}.")
    return sample


def moment(text: str, now: float | None = None) -> float:
    """A moment, in seconds since the Unix epoch: ``2026-11-23T09:00``, in UTC unless it says otherwise, or ``2h`` for two hours ago.

    Args:
        text: as it was given on the command line.
        now: in seconds since the Unix epoch; None: the current time.

    Raises:
        ValueError: it is neither.
    """
    try:
        return (time.time() if now is None else now) - length_s(text)
    except ValueError:
        pass
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no moment: say 2026-11-23T09:00, or 2h for two hours ago.") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def length_s(text: str) -> float:
    """A length of time in seconds: ``30s``, ``5m``, ``1h``, ``7d``.

    Args:
        text: as it was given on the command line.

    Raises:
        ValueError: it is none.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip()):
        return float(match[1]) * units[match[2]]
    raise ValueError(f"{text!r} is no length of time: say 30s, 5m, 1h or 7d.")


def span(text: str) -> tuple[float, float]:
    """Two moments with ``..`` between them.

    Args:
        text: as it was given on the command line.

    Raises:
        ValueError: they are none, or not in order.
    """
    first, dots, last = text.partition("..")
    if not dots:
        raise ValueError(f"{text!r} is no range: say START..END.")
    start, end = moment(first), moment(last)
    if start >= end:
        raise ValueError(f"{text!r} is no range: it ends before it begins.")
    return start, end


def _those(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"only {listed}" if listed else "nor any other"
