"""Variables that look like ours and are none: a misspelt one would else be ignored in silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from otel_tts.settings.emitting import Settings
from otel_tts.settings.judging import MonitorSettings, ObjectiveSettings
from otel_tts.settings.reading import DoctorSettings, GrafanaSettings, HistorySettings, LiveSettings, ReportSettings

PREFIX = "OTEL_TTS_"
_SECTIONS = (
    Settings,
    ObjectiveSettings,
    MonitorSettings,
    HistorySettings,
    ReportSettings,
    LiveSettings,
    GrafanaSettings,
    DoctorSettings,
)
_logger = logging.getLogger(__name__)


def warn(environ: Mapping[str, str]) -> None:
    """Log one line for each variable with our prefix that does not exist, with the name of the nearest that does.

    Args:
        environ: the environment variables.
    """
    for sentence in sentences(environ):
        _logger.warning(sentence)


def sentences(environ: Mapping[str, str]) -> Iterator[str]:
    """Give a line for people for each variable with our prefix that does not exist.

    Args:
        environ: the environment variables.
    """
    for name, nearest in misspelt(environ):
        hint = f"The nearest that it reads is {nearest}. " if nearest else ""
        yield f"{ascii(name)[1:-1]} is set, and otel-tts reads no such variable. {hint}All: `otel-tts config`."


def misspelt(environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Give each variable with our prefix that does not exist, and the nearest that does; None if none is near.

    Args:
        environ: the environment variables.
    """
    existing = {variable.name for section in _SECTIONS for variable in section.all_variables()}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in existing:
            yield (
                name,
                next(iter(get_close_matches(name, sorted(other for other in existing if other.startswith(PREFIX)), 1)), None),
            )
