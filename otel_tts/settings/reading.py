"""What the reading side reads: a section for each reader."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts.settings.emitting import SharedSettings
from otel_tts.settings.judging import ObjectiveSettings
from otel_tts.settings.section import nested, setting
from otel_tts.settings.server import CollectorServer, GrafanaServer, PrometheusServer, TempoServer
from otel_tts.settings.values import Secret, port, text


@dataclass(frozen=True, kw_only=True)
class HistorySettings(SharedSettings):
    """Readers: where they take metrics and traces from."""

    prometheus: PrometheusServer = nested(PrometheusServer)
    tempo: TempoServer = nested(TempoServer)

    @property
    def has_backends(self) -> bool:
        """Whether readers read from backends, and not from local files."""
        return bool(self.prometheus.url or self.tempo.url)


@dataclass(frozen=True, kw_only=True)
class ReportSettings(HistorySettings):
    """The batch job."""

    mlflow_tracking_uri: str = setting("MLFLOW_TRACKING_URI", text, "", "Where the batch job writes its runs.")


@dataclass(frozen=True, kw_only=True)
class LiveSettings(ReportSettings, ObjectiveSettings):
    """The live dashboard."""

    dashboard_host: str = setting("DASHBOARD_HOST", text, "127.0.0.1", "Address the live dashboard binds to.")
    dashboard_port: int = setting("DASHBOARD_PORT", port, 8501, "Port of the live dashboard.")
    grafana: GrafanaServer = nested(GrafanaServer)


@dataclass(frozen=True, kw_only=True)
class GrafanaSettings(ObjectiveSettings):
    """Grafana: writing and uploading its dashboards."""

    grafana: GrafanaServer = nested(GrafanaServer)
    token: Secret = setting(
        "OTEL_TTS_GRAFANA_TOKEN",
        Secret,
        Secret(""),
        "A service account's token with the role Editor, for `otel-tts grafana push`.",
    )


@dataclass(frozen=True, kw_only=True)
class DoctorSettings(HistorySettings):
    """The doctor."""

    collector: CollectorServer = nested(CollectorServer)
    grafana: GrafanaServer = nested(GrafanaServer)
    password: Secret = setting(
        "OTEL_TTS_GRAFANA_PASSWORD", Secret, Secret(""), "The password of Grafana's user `admin`, for `otel-tts doctor`."
    )
