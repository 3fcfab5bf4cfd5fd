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

T = TypeVar("T")
_USER = re.compile(r"(?<=://)[^/\s]*@")  # a URL's user and password, which no message should show


class SettingError(ValueError):
    """A setting cannot be used; the message names the variable, the value and what is allowed."""


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


def path(value: str) -> Path:
    """A path in the file system; ``~`` is the home directory."""
    return Path(value).expanduser()


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
    dashboard_port: int = setting("DASHBOARD_PORT", port, 8501, "Port of the live dashboard.")
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
