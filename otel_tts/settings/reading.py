"""Settings of the readers, a section for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otel_tts.errors import SettingError
from otel_tts.settings.emitting import SharedSettings
from otel_tts.settings.judging import ObjectiveSettings
from otel_tts.settings.section import nested, setting
from otel_tts.settings.selection import Selection, selection
from otel_tts.settings.server import CollectorServer, GrafanaServer, JaegerServer, PrometheusServer, TempoServer
from otel_tts.settings.values import Secret, host_names, port, text


@dataclass(frozen=True, kw_only=True)
class HistorySettings(SharedSettings):
    """Readers: where they take metrics and traces from."""

    prometheus: PrometheusServer = nested(PrometheusServer)
    jaeger: JaegerServer = nested(JaegerServer)
    tempo: TempoServer = nested(TempoServer)
    selection: Selection = setting(
        "OTEL_TTS_SELECT",
        selection,
        Selection(),
        "Read only from processes with these resource attributes, such as `k8s.cluster.name=eu,service.namespace=shop`: of "
        "`service.namespace`, `deployment.environment.name` and `k8s.cluster.name`.",
    )

    @property
    def has_backends(self) -> bool:
        """Whether readers read from backends, and not from local files."""
        return bool(self.prometheus.url or self.jaeger.url or self.tempo.url)

    @property
    def trace_backend(self) -> Literal["jaeger", "tempo"]:
        """Which of the two has the traces.

        Raises:
            SettingError: both have an address.
        """
        if self.jaeger.url and self.tempo.url:
            jaeger, tempo = (server.variable("url") for server in (self.jaeger, self.tempo))
            raise SettingError(f"{jaeger} and {tempo} are both set, and traces are read from one of them: unset the other.")
        return "tempo" if self.tempo.url else "jaeger"

    @property
    def traces(self) -> JaegerServer | TempoServer:
        """Where traces are read from. Raises SettingError: both have an address."""
        return self.tempo if self.trace_backend == "tempo" else self.jaeger


@dataclass(frozen=True, kw_only=True)
class ReportSettings(HistorySettings):
    """The batch job."""

    mlflow_tracking_uri: str = setting("MLFLOW_TRACKING_URI", text, "", "Where the batch job writes its runs.")


@dataclass(frozen=True, kw_only=True)
class LiveSettings(ReportSettings, ObjectiveSettings):
    """The live dashboard."""

    dashboard_host: str = setting("DASHBOARD_HOST", text, "127.0.0.1", "Address the live dashboard binds to.")
    dashboard_port: int = setting("DASHBOARD_PORT", port, 8501, "Port of the live dashboard.")
    dashboard_allowed_hosts: tuple[str, ...] = setting(
        "DASHBOARD_ALLOWED_HOSTS",
        host_names,
        (),
        "Host names that the live dashboard answers to, commas between, beside `localhost` and its own address; `*` for all.",
    )
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
