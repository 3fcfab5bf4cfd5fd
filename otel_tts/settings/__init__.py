"""Every environment variable of otel-tts, documented, parsed once into a frozen section for whoever reads it.

`Settings` is that of the library. Readers have sections of their own, so that a service which emits telemetry carries no password of
Grafana's. Standard ``OTEL_*`` variables keep the meaning that the OpenTelemetry specification gives them and are read by the SDK
itself; only those stand here that we read too. Precedence: argument > environment > default.
"""

from otel_tts.errors import SettingError
from otel_tts.settings.emitting import Settings, SharedSettings
from otel_tts.settings.judging import MonitorSettings, ObjectiveSettings
from otel_tts.settings.reading import DoctorSettings, GrafanaSettings, HistorySettings, LiveSettings, ReportSettings
from otel_tts.settings.section import InForce, Section, Variable, nested, setting
from otel_tts.settings.selection import EVERYWHERE, PLACES, SELECTABLE, Selection
from otel_tts.settings.server import CollectorServer, GrafanaServer, JaegerServer, PrometheusServer, ServerSettings, TempoServer
from otel_tts.settings.values import (
    Headers,
    Hidden,
    Secret,
    boolean,
    count,
    factor,
    first_audio_bound,
    header_lines,
    header_list,
    milliseconds,
    path,
    port,
    quoted,
    redact_url,
    seconds,
    share,
    size,
    some_seconds,
    text,
    url,
)

__all__ = [
    "EVERYWHERE",
    "PLACES",
    "SELECTABLE",
    "CollectorServer",
    "DoctorSettings",
    "GrafanaServer",
    "GrafanaSettings",
    "Headers",
    "Hidden",
    "HistorySettings",
    "InForce",
    "JaegerServer",
    "LiveSettings",
    "MonitorSettings",
    "ObjectiveSettings",
    "PrometheusServer",
    "ReportSettings",
    "Secret",
    "Section",
    "Selection",
    "ServerSettings",
    "SettingError",
    "Settings",
    "SharedSettings",
    "TempoServer",
    "Variable",
    "boolean",
    "count",
    "factor",
    "first_audio_bound",
    "header_lines",
    "header_list",
    "milliseconds",
    "nested",
    "path",
    "port",
    "quoted",
    "redact_url",
    "seconds",
    "setting",
    "share",
    "size",
    "some_seconds",
    "text",
    "url",
]
