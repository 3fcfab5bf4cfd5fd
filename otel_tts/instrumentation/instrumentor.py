"""Instrumentor: the base class of all instrumentors."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it switches its types off
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.patch import Patch
from otel_tts.instrumentation.target import Target


@functools.cache
def telemetry_of(tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> Telemetry:
    """Return the Telemetry that all instrumentors on these providers share, so that labels are bounded together. None: the global one.

    Args:
        tracer_provider: makes the tracer; None: the global one.
        meter_provider: makes the meter; None: the global one.

    Raises:
        SettingError: a setting is not usable.
    """
    return Telemetry(tracer_provider=tracer_provider, meter_provider=meter_provider)


class Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # as above
    """Instrumentor of one engine or SDK. Parameters of `instrument`: ``tracer_provider`` and ``meter_provider``."""

    requires: ClassVar[str] = ""
    """The distribution and its versions, as in a requirements file; empty: only Python is needed."""
    targets: ClassVar[Sequence[Target]] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the distribution and its versions."""
        return (self.requires,) if self.requires else ()

    def instrument(self, **kwargs: Any) -> None:
        """Start to observe it. See :class:`opentelemetry.instrumentation.instrumentor.BaseInstrumentor`."""
        if kwargs.pop("skip_dep_check", False):
            # OpenTelemetry has checked the versions that our distribution requires, which are none; here those of the library count.
            kwargs["raise_exception_on_conflict"] = True
        super().instrument(**kwargs)

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return all patches.

        Args:
            telemetry: the Telemetry that records.
        """
        return [target.patch(telemetry) for target in self.targets]

    def _instrument(self, **kwargs: Any) -> None:
        self._patches = self.patches(telemetry_of(kwargs.get("tracer_provider"), kwargs.get("meter_provider")))

    def _uninstrument(self, **kwargs: Any) -> None:
        for patch in self._patches:
            patch.remove()
        self._patches = ()
