"""OpenTelemetry's variables that name something that it, or another package, provides: a name that nobody provides is refused.

OpenTelemetry reads some of them while it is imported, and raises or logs a stack trace there. So they are checked before that.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import takewhile

from otel_tts.errors import SettingError
from otel_tts.settings.values import quoted

_AT_IMPORT = {"OTEL_PROPAGATORS": "opentelemetry_propagator", "OTEL_PYTHON_CONTEXT": "opentelemetry_context"}
_GROUPS = {
    **_AT_IMPORT,
    "OTEL_PYTHON_TRACER_PROVIDER": "opentelemetry_tracer_provider",
    "OTEL_PYTHON_METER_PROVIDER": "opentelemetry_meter_provider",
    "OTEL_PYTHON_LOGGER_PROVIDER": "opentelemetry_logger_provider",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "opentelemetry_resource_detector",
    "OTEL_TRACES_SAMPLER": "opentelemetry_traces_sampler",
}
_SAMPLERS = ("always_on", "always_off", "traceidratio")
_BUILT_IN = {
    "OTEL_METRICS_EXEMPLAR_FILTER": ("always_off", "always_on", "trace_based"),
    "OTEL_TRACES_SAMPLER": (*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS)),
}
VARIABLES = tuple(dict.fromkeys((*_GROUPS, *_BUILT_IN)))
"""What is checked."""


def check(environ: Mapping[str, str]) -> None:
    """Refuse a name that nobody provides.

    Args:
        environ: the environment variables.

    Raises:
        SettingError: a variable has such a name; with those that it takes here.
    """
    for name in VARIABLES:
        _check(name, environ)


def check_imports() -> None:
    """Check what OpenTelemetry reads while it is imported. An import of ours raises nothing: what is used first says it.

    Raises:
        SettingError: as for :func:`check`.
    """
    for name in _AT_IMPORT:
        _check(name, os.environ)


def import_context() -> None:
    """Import OpenTelemetry's context. It logs a stack trace for a wrong name, of which :func:`check_imports` makes one line later."""
    if os.environ.get("OTEL_PYTHON_CONTEXT"):
        logger = logging.getLogger("opentelemetry.context")
        before, logger.disabled = logger.disabled, True
        try:
            importlib.import_module(logger.name)
        finally:
            logger.disabled = before


def _check(name: str, environ: Mapping[str, str]) -> None:
    text = environ.get(name)
    if text is None or not (names := _names(name, text)):
        return
    from importlib.metadata import entry_points  # it loads the e-mail package; most programs set none of these variables

    provided = {*_BUILT_IN.get(name, ()), *(entry.name for entry in entry_points(group=_GROUPS.get(name, "")))}
    if missing := [wanted for wanted in names if wanted not in provided]:
        raise SettingError(
            f"{name}={quoted(text)} is not allowed: no installed package provides {quoted(missing[0])}. "
            f"It takes {', '.join(sorted(provided))}; or unset it."
        )


def _names(variable: str, text: str) -> Sequence[str]:
    """The names that OpenTelemetry looks for with this value of the variable."""
    parts = [part.strip() for part in text.split(",")]
    match variable:
        case "OTEL_PROPAGATORS":
            return list(takewhile(lambda part: part.lower() != "none", parts)) if text else []
        case "OTEL_TRACES_SAMPLER":
            return [text.strip().lower()] if text.strip() else []
        case "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS":
            return [part for part in parts if part not in ("", "*")]
        case "OTEL_PYTHON_CONTEXT":
            return [text] if text else []
    return [text]
