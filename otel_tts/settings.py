"""Every environment variable of otel-tts, documented, parsed once into a frozen :class:`Settings`.

Standard ``OTEL_*`` variables keep the meaning that the OpenTelemetry specification gives them and are read by the SDK itself;
only those stand here that we read too. Precedence: argument > environment > default.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import platformdirs

from otel_tts.errors import SettingError as SettingError  # noqa: PLC0414 - importable from here
from otel_tts.semconv import SYNTHESIS_FIRST_AUDIO

T = TypeVar("T")
_USER = re.compile(r"(?<=://)[^/\s]*@")  # a URL's user and password, which no message should show


def boolean(text: str) -> bool:
    """``true`` or ``false``, in any case: what the OpenTelemetry specification allows, and 1/0, yes/no, on/off beside it."""
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def port(text: str) -> int:
    """A TCP port; 0 asks the system for a free one."""
    if text.strip().isdecimal() and int(text) <= 65535:
        return int(text)
    raise ValueError("a port from 0 to 65535")


def count(text: str) -> int:
    """A whole number of at least 1."""
    if text.strip().isdecimal() and int(text) >= 1:
        return int(text)
    raise ValueError("a whole number of at least 1")


def seconds(text: str) -> float:
    """A finite, non-negative number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    raise ValueError("a number of seconds, 0 or more")


def some_seconds(text: str) -> float:
    """A finite number of seconds above 0."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise ValueError("a number of seconds above 0")


def first_audio_bound(text: str) -> float:
    """Seconds: a bound of the buckets in which time to first audio is counted."""
    with suppress(ValueError):
        if float(text) in SYNTHESIS_FIRST_AUDIO.buckets:
            return float(text)
    raise ValueError(f"one of {', '.join(f'{bound:g}' for bound in SYNTHESIS_FIRST_AUDIO.buckets)}")


def share(text: str) -> float:
    """A share, above 0 and below 1."""
    with suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise ValueError("a share above 0 and below 1, such as 0.95")


def factor(text: str) -> float:
    """A finite number above 1."""
    with suppress(ValueError):
        if 1 < float(text) < math.inf:
            return float(text)
    raise ValueError("a number above 1")


def milliseconds(text: str) -> float:
    """A number of milliseconds, as seconds."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text) / 1000
    raise ValueError("a number of milliseconds above 0")


def size(text: str) -> int:
    """A number of bytes, with an optional unit: ``500MB``, ``1GiB``."""
    digits = text.strip().rstrip("BKMGTi" + "bkmgt")
    unit = text.strip()[len(digits) :].lower().removesuffix("b")
    factors = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
    if digits.strip().isdecimal() and unit in factors:
        return int(digits) * factors[unit]
    raise ValueError("a number of bytes such as 1000000, 500MB or 1GiB")


def text(value: str) -> str:
    """Any text."""
    return value


def url(value: str) -> str:
    """An HTTP address, without a slash at its end."""
    if re.fullmatch(r"https?://[^\s/]+(/\S*)?", value.strip()):
        return value.strip().rstrip("/")
    raise ValueError("an address that begins with http:// or https://")


def path(value: str) -> Path:
    """A path in the file system; ``~`` is the home directory."""
    return Path(value).expanduser()


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that is used and never shown."""

    value: str

    def __bool__(self) -> bool:
        return bool(self.value)

    def __str__(self) -> str:
        return "(set)" if self.value else ""

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Variable:
    """What is known of one environment variable."""

    name: str
    parse: Callable[[str], Any]
    description: str


def setting(name: str, parse: Callable[[str], T], default: T | Callable[[], T], description: str) -> T:
    """Declare a field of a :class:`Section` that the environment variable ``name`` sets."""
    variable = {"variable": Variable(name, parse, description)}
    if callable(default):
        return field(default_factory=default, metadata=variable)
    return field(default=default, metadata=variable)


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting as it is in force, and where it comes from: ``argument``, ``environment`` or ``default``."""

    variable: Variable
    value: Any
    source: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A group of settings. Subclasses declare their fields with :func:`setting`."""

    _sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Self:
        """The settings in force. An argument that is None counts as not given, an empty variable as not set.

        Raises:
            SettingError: a variable has a value that is not allowed.
            TypeError: an argument that is no setting.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, variable in cls._variables():
            given = arguments.pop(name, None)
            raw = environ.get(variable.name, "")
            if given is not None:
                values[name], sources[name] = given, "argument"
            elif raw.strip():
                try:
                    values[name], sources[name] = variable.parse(raw), "environment"
                except ValueError as error:
                    shown = _USER.sub("...@", raw)
                    raise SettingError(f"{variable.name}={shown!r} is not allowed: it takes {error}.") from None
        if arguments:
            raise TypeError(f"{cls.__name__} has no setting named {', '.join(sorted(arguments))}.")
        return cls(**values, _sources=sources)

    @classmethod
    def _variables(cls) -> Iterator[tuple[str, Variable]]:
        return ((f.name, f.metadata["variable"]) for f in fields(cls) if "variable" in f.metadata)

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable that sets the setting ``name``."""
        return next(variable.name for setting, variable in cls._variables() if setting == name)

    def source(self, name: str) -> str:
        """Where the setting ``name`` comes from: ``argument``, ``environment`` or ``default``."""
        return self._sources.get(name, "default")

    def in_force(self) -> list[InForce]:
        """All settings of this section, for people."""
        return [InForce(variable, getattr(self, name), self.source(name)) for name, variable in self._variables()]


@dataclass(frozen=True, kw_only=True)
class Settings(Section):
    """The settings of the library."""

    metrics_enabled: bool = setting(
        "METRICS_ENABLED", boolean, True, "Whether metrics are recorded. Traces and logs stay as they are."
    )
    prometheus_port: int = setting(
        "PROMETHEUS_PORT", port, 8002, "Port of the Prometheus pull endpoint: on in `serve`, elsewhere where this is set."
    )
    prometheus_host: str = setting("PROMETHEUS_HOST", text, "127.0.0.1", "Address the pull endpoint binds to.")
    mlflow_tracking_uri: str = setting("MLFLOW_TRACKING_URI", text, "", "Where the batch job writes its runs.")
    dashboard_host: str = setting("DASHBOARD_HOST", text, "127.0.0.1", "Address the live dashboard binds to.")
    dashboard_port: int = setting("DASHBOARD_PORT", port, 8501, "Port of the live dashboard.")
    grafana_url: str = setting(
        "OTEL_TTS_GRAFANA_URL", url, "", "Grafana: where the live dashboard links to, from a request to its trace in Tempo."
    )
    data_dir: Path = setting(
        "OTEL_TTS_DATA_DIR",
        path,
        lambda: Path(platformdirs.user_data_dir("otel-tts", appauthor=False)),
        "Where telemetry is kept in local files when no exporter and no OTLP endpoint is set.",
    )
    data_max_age: float = setting(
        "OTEL_TTS_DATA_MAX_AGE", seconds, 7 * 86400.0, "Seconds after which local telemetry files are deleted."
    )
    data_max_size: int = setting(
        "OTEL_TTS_DATA_MAX_SIZE", size, 2**30, "Bytes of local telemetry files; the oldest are deleted beyond it."
    )
    prometheus_url: str = setting(
        "OTEL_TTS_PROMETHEUS_URL",
        url,
        "",
        "Prometheus, or what answers its API: where readers take metrics from, in place of local files. Goes with OTEL_TTS_TEMPO_URL.",
    )
    tempo_url: str = setting(
        "OTEL_TTS_TEMPO_URL", url, "", "Tempo's API: where readers take traces from. Goes with OTEL_TTS_PROMETHEUS_URL."
    )
    collector_url: str = setting(
        "OTEL_TTS_COLLECTOR_URL", url, "http://127.0.0.1:13133", "The Collector's health check, for `otel-tts doctor`."
    )
    grafana_token: Secret = setting(
        "OTEL_TTS_GRAFANA_TOKEN",
        Secret,
        Secret(""),
        "A service account's token with the role Editor, for `otel-tts grafana push`.",
    )
    grafana_password: Secret = setting(
        "OTEL_TTS_GRAFANA_PASSWORD", Secret, Secret(""), "The password of Grafana's user `admin`, for `otel-tts doctor`."
    )
    capture_text: bool = setting(
        "OTEL_TTS_CAPTURE_TEXT", boolean, False, "Whether the text and exception messages are recorded on spans. Private text!"
    )
    prices: str = setting("OTEL_TTS_PRICES", text, "", "A TOML file with the prices of providers; see docs/telemetry.md.")
    grpc_mapping: str = setting(
        "OTEL_TTS_GRPC_MAPPING",
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
    shutdown_timeout: float = setting(
        "OTEL_TTS_SHUTDOWN_TIMEOUT", seconds, 3.0, "The most seconds that flushing telemetry may hold up the end of the process."
    )
    export_interval: float = setting(
        "OTEL_METRIC_EXPORT_INTERVAL", milliseconds, 10.0, "Milliseconds between exports of metrics."
    )
    exporter_prometheus_host: str = setting(
        "OTEL_EXPORTER_PROMETHEUS_HOST", text, "localhost", "Address of the pull endpoint where PROMETHEUS_PORT is not set."
    )
    exporter_prometheus_port: int = setting(
        "OTEL_EXPORTER_PROMETHEUS_PORT", port, 9464, "Port of the pull endpoint where PROMETHEUS_PORT is not set."
    )
    monitor: bool = setting(
        "OTEL_TTS_MONITOR",
        boolean,
        False,
        "Whether the process judges its own metrics and warns in its log. The service does so unless this says false.",
    )
    monitor_window: float = setting("OTEL_TTS_MONITOR_WINDOW", some_seconds, 300.0, "Seconds over which the monitor judges.")
    monitor_minimum_traffic: int = setting(
        "OTEL_TTS_MONITOR_MINIMUM_TRAFFIC", count, 20, "Requests that the monitor wants in its window before it judges."
    )
    monitor_success_rate: float = setting(
        "OTEL_TTS_MONITOR_SUCCESS_RATE", share, 0.95, "The monitor warns when less than this share of requests succeeds."
    )
    monitor_latency_factor: float = setting(
        "OTEL_TTS_MONITOR_LATENCY_FACTOR", factor, 1.5, "The monitor warns when latency exceeds its reference this many times."
    )
    reference_latency_mean: float = setting(
        "OTEL_TTS_REFERENCE_LATENCY_MEAN",
        some_seconds,
        0.8,
        "Seconds that speech should take on average when the cache does not have it: first audio of streams, else all of it.",
    )
    reference_latency_p95: float = setting(
        "OTEL_TTS_REFERENCE_LATENCY_P95",
        some_seconds,
        2.5,
        "The same for the 95th percentile. While it is not set, alerts prefer what was published or was usual; see docs/runbooks.md.",
    )
    slo_success: float = setting(
        "OTEL_TTS_SLO_SUCCESS", share, 0.99, "The share of requests that shall succeed; generated into the rules."
    )
    slo_first_audio: float = setting(
        "OTEL_TTS_SLO_FIRST_AUDIO",
        share,
        0.95,
        "The share of streams whose first audio shall come in time; generated into the rules.",
    )
    slo_first_audio_seconds: float = setting(
        "OTEL_TTS_SLO_FIRST_AUDIO_SECONDS", first_audio_bound, 2.5, "What in time means: a bound of the metric's buckets."
    )
    notify_urls: Secret = setting(
        "OTEL_TTS_NOTIFY_URLS",
        Secret,
        Secret(""),
        "Where the monitor also sends what it logs: Apprise URLs, commas between; needs the extra `notify`.",
    )
    runbooks_url: str = setting(
        "OTEL_TTS_RUNBOOKS_URL", text, "docs/runbooks.md", "Where people read the runbooks; generated into the rules' links."
    )
