"""Settings of the emitting side: the library inside a service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs

from otel_tts.settings.dropped import metric_names
from otel_tts.settings.named_file import GRPC_MAPPING, PRICES
from otel_tts.settings.section import Section, setting
from otel_tts.settings.values import boolean, host_names, milliseconds, path, port, seconds, size, text


def default_data_dir() -> Path:
    """The user's directory for data; one that begins with ``~`` where there is no home directory: nobody may need it."""
    try:
        return Path(platformdirs.user_data_dir("otel-tts", appauthor=False))
    except RuntimeError:
        return Path("~/.local/share/otel-tts")


@dataclass(frozen=True, kw_only=True)
class SharedSettings(Section):
    """Settings that the library and the readers share."""

    data_dir: Path = setting(
        "OTEL_TTS_DATA_DIR",
        path,
        default_data_dir,
        "Where telemetry is kept in local files when no exporter and no OTLP endpoint is set.",
    )
    export_interval: float = setting(
        "OTEL_METRIC_EXPORT_INTERVAL", milliseconds, 10.0, "Milliseconds between exports of metrics."
    )


@dataclass(frozen=True, kw_only=True)
class Settings(SharedSettings):
    """The settings of the library."""

    metrics_enabled: bool = setting(
        "METRICS_ENABLED", boolean, True, "Whether metrics are recorded. Traces and logs stay as they are."
    )
    metrics_dropped: tuple[str, ...] = setting(
        "OTEL_TTS_METRICS_DROPPED",
        metric_names,
        (),
        "Metrics that are not recorded, commas between, such as `tts.audio.*`, the dearest; spans keep their values. See docs/series.md.",
    )
    prometheus_port: int = setting(
        "PROMETHEUS_PORT",
        port,
        8002,
        "Port of the Prometheus pull endpoint. `otel-tts serve` always opens it, other programs where this is set.",
    )
    prometheus_host: str = setting("PROMETHEUS_HOST", text, "127.0.0.1", "Address the pull endpoint binds to.")
    prometheus_allowed_hosts: tuple[str, ...] = setting(
        "PROMETHEUS_ALLOWED_HOSTS",
        host_names,
        (),
        "Host names that the pull endpoint answers to, commas between, beside addresses, names without a dot and `localhost`; `*` for all.",
    )
    exporter_prometheus_host: str = setting(
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        text,
        "localhost",
        "Address of the pull endpoint where OTEL_METRICS_EXPORTER has `prometheus` and PROMETHEUS_PORT is not set.",
    )
    exporter_prometheus_port: int = setting(
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        port,
        9464,
        "Port of the pull endpoint where OTEL_METRICS_EXPORTER has `prometheus` and PROMETHEUS_PORT is not set.",
    )
    data_max_age: float = setting(
        "OTEL_TTS_DATA_MAX_AGE", seconds, 7 * 86400.0, "Seconds after which local telemetry files are deleted."
    )
    data_max_size: int = setting(
        "OTEL_TTS_DATA_MAX_SIZE", size, 2**30, "Bytes of local telemetry files; the oldest are deleted beyond it."
    )
    capture_text: bool = setting(
        "OTEL_TTS_CAPTURE_TEXT", boolean, False, "Whether the text and exception messages are recorded on spans. Private text!"
    )
    prices: str = setting(PRICES.variable, text, "", "A TOML file with the prices of providers; see docs/telemetry.md.")
    grpc_mapping: str = setting(
        GRPC_MAPPING.variable,
        text,
        "",
        "A TOML file that says where the messages of further gRPC methods hold text, voice and audio; for zero code.",
    )
    deadline_floor: float = setting(
        "OTEL_TTS_DEADLINE_FLOOR",
        seconds,
        0.0,
        "A request that came with less than this many seconds to its deadline and missed it counts as rejected: nobody could have met it.",
    )
    cancelled_is_error: bool = setting(
        "OTEL_TTS_CANCELLED_IS_ERROR",
        boolean,
        False,
        "Whether an RPC that its caller cancelled gets span status ERROR. The RPC conventions do not say.",
    )
    direct: bool = setting(
        "OTEL_TTS_DIRECT",
        boolean,
        True,
        "Whether spans and histograms may take the direct path, which costs less; false forces the SDK's. See docs/performance.md.",
    )
    strict: bool = setting(
        "OTEL_TTS_STRICT",
        boolean,
        False,
        "Whether wrong use of the library, and faults of its own, are raised instead of logged: for development and tests.",
    )
    shutdown_timeout: float = setting(
        "OTEL_TTS_SHUTDOWN_TIMEOUT", seconds, 3.0, "The most seconds that flushing telemetry may hold up the end of the process."
    )
    monitor: bool = setting(
        "OTEL_TTS_MONITOR",
        boolean,
        False,
        "Whether the process judges its own metrics and warns in its log. `otel-tts serve` does so unless this is false.",
    )

    @property
    def keeps_files(self) -> bool:
        """Whether signals without an exporter go to local files by themselves: a data directory is named."""
        return self.source("data_dir") != "default"
