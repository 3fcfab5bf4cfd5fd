"""Judging every export of metrics, and telling people once when a condition begins and once when it is over."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_VERSION

from otel_tts.conditions import MINIMUM_REFERENCE, Condition, formatted
from otel_tts.conditions.speech import (
    FIRST_AUDIO_MEAN_SLOW,
    FIRST_AUDIO_SLOW,
    PROVIDER_DOWN,
    REQUESTS_FAILING,
    SYNTHESIS_MEAN_SLOW,
    SYNTHESIS_SLOW,
)
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.formatting import duration, elapsed, estimated
from otel_tts.monitor.latency import Latency
from otel_tts.monitor.measured import ExportReader, Measured
from otel_tts.monitor.message import MonitorMessage
from otel_tts.monitor.notify import Notifier
from otel_tts.settings import MonitorSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

_logger = logging.getLogger("otel_tts.monitor")

USUAL = 12
"""How many windows back it reaches what counts as usual: an hour, at five minutes each."""
_ENOUGH = 3
"""How many of them there must be before anything counts as usual."""
_CALM = 0.2
"""The part of the window for which a condition must not have held before it is over: what wavers around a limit is told once."""


class Judged(NamedTuple):
    """One figure with what it was taken over, and the same in words."""

    condition: Condition
    provider: str
    value: float | None
    traffic: float | None
    words: str


@dataclasses.dataclass(slots=True)
class _Held:
    condition: Condition
    since: float
    last: float


class Monitor:
    """Judges what a process measured in the last ``settings.monitor_window`` seconds.

    A condition begins as soon as it holds. It is over when it has not held for a fifth of the window, or when nothing is left in the window
    that could be judged: each one that began is said to be over. Latency is compared with the reference that was set; else with what was
    usual in the hour before the window, less the time in which it was too slow; else with the default.

    Args:
        settings: window, thresholds, references.
        notifier: gets each message too.
        clock: seconds, monotonic.
    """

    def __init__(
        self, settings: MonitorSettings, notifier: Notifier | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._notifier = notifier
        self._clock = clock
        traffic, factor = settings.monitor_minimum_traffic, settings.monitor_latency_factor
        self._failing = dataclasses.replace(
            REQUESTS_FAILING, threshold=settings.monitor_success_rate, minimum_traffic=traffic, minimum_events=0
        )
        self._down = dataclasses.replace(
            PROVIDER_DOWN, title="This process cannot use the provider"
        )  # it knows of no other replica
        self._slow = {
            slow: dataclasses.replace(slow, threshold=factor, minimum_traffic=traffic)
            for slow in (FIRST_AUDIO_SLOW, FIRST_AUDIO_MEAN_SLOW, SYNTHESIS_SLOW, SYNTHESIS_MEAN_SLOW)
        }
        self.renew()

    @classmethod
    def from_settings(cls, settings: MonitorSettings, service: str) -> Self:
        """The monitor of a service, which notifies where the settings say so.

        Args:
            settings: the settings.
            service: the name of the service.

        Raises:
            SettingError: nobody can be notified in this way.
        """
        return cls(settings, Notifier(settings.notify_urls, service) if settings.notify_urls else None)

    def renew(self) -> None:
        """Forget everything: a forked child begins anew."""
        if self._notifier is not None:
            self._notifier.renew()
        self._reader = ExportReader()
        self._window: deque[tuple[float, Measured]] = deque()
        self._usual: deque[Measured] = deque(maxlen=USUAL)
        self._leaving: tuple[float, Measured] | None = None
        self._held: dict[tuple[str, str], _Held] = {}

    @guarded_or(lambda *_: [])
    def judge(self, data: MetricsData) -> list[MonitorMessage]:
        """Judge one more export; give the messages. Exports come one at a time, in the order in which they were collected.

        Args:
            data: one export.
        """
        now = self._clock()
        self._window.append((now, self._reader.increment(data)))
        while self._window[0][0] <= now - self._settings.monitor_window:
            self._leave(*self._window.popleft())
        measured = sum((increment for _, increment in self._window), Measured())
        figures = list(self._figures(measured, self._reader.available(data)))
        messages = [self._change(now, judged) for judged in figures]
        present = {(judged.condition.name, judged.provider) for judged in figures if judged.value is not None}
        messages += [self._gone(now, key) for key in self._held.keys() - present]
        return [message for message in messages if message]

    @guarded
    def tell(self, messages: list[MonitorMessage], resource: Mapping[str, object] = MappingProxyType({})) -> None:
        """Log and notify. This is apart from judging, as a log handler of the host may run any code.

        Args:
            messages: for people.
            resource: the attributes of the process's resource.
        """
        for message in messages:
            _logger.warning("%s", message)
            if self._notifier is not None:
                instance, version = (str(resource.get(key, "")) for key in (SERVICE_INSTANCE_ID, SERVICE_VERSION))
                self._notifier.send(message.title(self._notifier.service), message.body(instance, version), message.kind)

    def _figures(self, measured: Measured, available: Mapping[str, float]) -> Iterator[Judged]:
        over = f"in the last {self._settings.monitor_window:g} s"
        limit = formatted(self._failing.threshold, self._failing.figure.unit)
        words = f"{measured.succeeded} of {measured.requests} {over}; the limit is {limit}"
        yield Judged(self._failing, "", measured.success_rate, measured.requests, words)
        for provider, value in available.items():
            yield Judged(self._down, provider, value, None, "")
        usual = sum(self._usual, Measured()) if len(self._usual) >= _ENOUGH else Measured()
        for provider, latency in measured.first_audio.items():
            yield from self._latency(FIRST_AUDIO_SLOW, FIRST_AUDIO_MEAN_SLOW, provider, latency, usual.first_audio.get(provider))
        for provider, latency in measured.duration.items():
            yield from self._latency(SYNTHESIS_SLOW, SYNTHESIS_MEAN_SLOW, provider, latency, usual.duration.get(provider))

    def _latency(
        self, p95_slow: Condition, mean_slow: Condition, provider: str, latency: Latency, usual: Latency | None
    ) -> Iterator[Judged]:
        if usual is not None and usual.count < _ENOUGH * self._settings.monitor_minimum_traffic:
            usual = None
        for slow, name, take, shown in (
            (p95_slow, "reference_latency_p95", Latency.p95, estimated),
            (mean_slow, "reference_latency_mean", Latency.mean, duration),
        ):
            reference, source, shown_reference = getattr(self._settings, name), "the setting", duration
            if self._settings.source(name) == "default":
                before = take(usual) if usual is not None else None
                reference, source, shown_reference = (
                    (reference, "the default", duration)
                    if before is None
                    else (max(before, MINIMUM_REFERENCE), "the last hour", shown)
                )
            value = take(latency)
            if value is not None:
                words = (
                    f"{shown(value)} against {shown_reference(reference)}, {source}; {latency.count} {slow.figure.traffic} "
                    f"in the last {self._settings.monitor_window:g} s"
                )
                yield Judged(self._slow[slow], provider, value / reference, latency.count, words)

    def _change(self, now: float, judged: Judged) -> MonitorMessage | None:
        """The message for conditions that began or are over."""
        condition, provider = judged.condition, judged.provider
        held = self._held.get((condition.name, provider))
        if held is not None:  # a service with little left to do must be able to recover
            condition = dataclasses.replace(condition, minimum_traffic=1)
        holds = condition.holds(judged.value, judged.traffic)
        if holds is None or judged.value is None:
            return None
        words = f" ({judged.words})" if judged.words else ""
        if holds and held is None:
            self._held[condition.name, provider] = _Held(condition, now, now)
            sentence = f"{condition.sentence(judged.value)}{words}."
            return MonitorMessage(condition, provider, f"{sentence} Runbook: {condition.runbook(self._settings.runbooks_url)}")
        if holds and held is not None:
            held.last = now
        elif held is not None and now - held.last >= _CALM * self._settings.monitor_window:
            return self._over(now, provider, held, judged.words)
        return None

    def _gone(self, now: float, key: tuple[str, str]) -> MonitorMessage | None:
        """The message for a condition that began, when nothing is left that could be judged."""
        held, provider = self._held[key], key[1]
        if now - held.last < _CALM * self._settings.monitor_window:
            return None
        traffic = held.condition.figure.traffic
        over = f"no {traffic} in the last {self._settings.monitor_window:g} s" if traffic else "it is not reported any more"
        return self._over(now, provider, held, f"{over}, so nobody knows whether the cause is gone")

    def _over(self, now: float, provider: str, held: _Held, words: str) -> MonitorMessage:
        del self._held[held.condition.name, provider]
        lasted = f"It lasted {elapsed(now - held.since)}{f' ({words})' if words else ''}."
        return MonitorMessage(held.condition, provider, lasted, is_over=True)

    def _leave(self, at: float, increment: Measured) -> None:
        """Move figures that are too old for the window into the usual ones, unless they were unusual."""
        if any(name in {slow.name for slow in self._slow} for name, _ in self._held):
            return
        began, sofar = self._leaving or (at, Measured())
        sofar += increment
        self._leaving = began, sofar
        if at - began >= self._settings.monitor_window:
            self._usual.append(sofar)
            self._leaving = None
