"""OpenTelemetry's own variables: values that the SDK or an exporter cannot use are refused before it fails on them.

What a variable means is the specification's. Here stands only what can be used, so that a wrong value is one clear line: some of them end
in a stack trace when the SDK is imported, others at every export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from otel_tts.errors import SettingError
from otel_tts.settings import plugins
from otel_tts.settings.named_file import check_kind
from otel_tts.settings.values import milliseconds, quoted

_MOST = 2**31 - 1
_LONGEST = 10**9  # of milliseconds or seconds; a larger number overflows the timers of the platform
_GRPC_SCHEMES = ("", "http", "https", "dns", "unix", "grpc", "grpcs")
_SIGNALS = ("", "TRACES_", "METRICS_", "LOGS_")


def limit(text: str) -> int:
    """A whole number of 0 or more.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    if text.strip().isdecimal() and int(text) <= _MOST:
        return int(text)
    raise ValueError(f"a whole number from 0 to {_MOST}")


def some(text: str) -> int:
    """A whole number of 1 or more.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    if text.strip().isdecimal() and 1 <= int(text) <= _MOST:
        return int(text)
    raise ValueError(f"a whole number from 1 to {_MOST}")


def timeout(text: str) -> float:
    """Seconds that an export may take.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    with suppress(ValueError):
        if 0 < float(text) <= _LONGEST:
            return float(text)
    raise ValueError(f"a number of seconds above 0, up to {_LONGEST}")


def ratio(text: str) -> float:
    """A share of traces.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    with suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise ValueError("a share from 0 to 1")


def compression(text: str) -> str:
    """The compression of request bodies.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    if text.strip().lower() in ("none", "gzip", "deflate"):
        return text
    raise ValueError("none, gzip or deflate")


def file(text: str) -> Path:
    """A file that can be read.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    with suppress(OSError, ValueError):
        check_kind(text.strip())
        return Path(text.strip())
    raise ValueError("the path of a file that can be read")


def attributes(text: str) -> str:
    """Attributes of the resource.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    if all(part.partition("=")[0].strip() and "=" in part for part in text.split(",") if part.strip()):
        return text
    raise ValueError("pairs such as deployment.environment.name=prod,team=voice")


def endpoint(text: str) -> str:
    """An HTTP address.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    with suppress(ValueError):
        url = urlsplit(text.strip())
        if url.scheme.lower() in ("http", "https") and _is_host(url.hostname) and url.port != 0:
            return text.strip()
    raise ValueError("an address such as http://127.0.0.1:4318")


def grpc_endpoint(text: str) -> str:
    """An address of gRPC, with a scheme or without.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it cannot be used; the message says what can.
    """
    with suppress(ValueError):
        url = urlsplit(text.strip() if "://" in text else f"//{text.strip()}")
        if url.scheme.lower() in _GRPC_SCHEMES and (_is_host(url.hostname) or url.path) and url.port != 0:
            return text.strip()
    raise ValueError("an address such as http://127.0.0.1:4317 or 127.0.0.1:4317")


def _is_host(name: str | None) -> bool:
    return name is not None and name.isprintable() and name != "" and not any(c in " <>\"'`{}|\\^=,;" for c in name)


_PARSERS: Mapping[str, Callable[[str], object]] = {
    **{
        f"OTEL_{name}_LIMIT": limit
        for name in (
            "ATTRIBUTE_COUNT", "ATTRIBUTE_VALUE_LENGTH", "SPAN_ATTRIBUTE_COUNT", "SPAN_ATTRIBUTE_VALUE_LENGTH", "SPAN_EVENT_COUNT",
            "SPAN_LINK_COUNT", "EVENT_ATTRIBUTE_COUNT", "LINK_ATTRIBUTE_COUNT", "LOGRECORD_ATTRIBUTE_COUNT",
            "LOGRECORD_ATTRIBUTE_VALUE_LENGTH",
        )
    },
    **{f"OTEL_{processor}_{name}": some for processor in ("BSP", "BLRP") for name in ("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE")},
    **{f"OTEL_{processor}_{name}": milliseconds for processor in ("BSP", "BLRP") for name in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT")},
    "OTEL_METRIC_EXPORT_TIMEOUT": milliseconds,
    "OTEL_RESOURCE_ATTRIBUTES": attributes,
    **{
        f"OTEL_EXPORTER_OTLP_{signal}{name}": parse
        for signal in _SIGNALS
        for name, parse in (("TIMEOUT", timeout), ("COMPRESSION", compression), ("CERTIFICATE", file), ("CLIENT_CERTIFICATE", file),
                            ("CLIENT_KEY", file))
    },
}  # fmt: skip


VARIABLES = (*_PARSERS, *(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in _SIGNALS), *plugins.VARIABLES)
"""What is checked."""


def check(environ: Mapping[str, str]) -> None:
    """Refuse values that cannot be used.

    Args:
        environ: the environment variables.

    Raises:
        SettingError: a variable has such a value; with what it takes.
    """
    plugins.check(environ)
    for name, parse in _PARSERS.items():
        _parse(name, parse, environ)
    for signal in _SIGNALS:
        name = f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT"
        protocol = environ.get(f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
        _parse(name, grpc_endpoint if protocol.strip() == "grpc" else endpoint, environ)
    if environ.get("OTEL_TRACES_SAMPLER", "").strip().endswith("traceidratio"):
        _parse("OTEL_TRACES_SAMPLER_ARG", ratio, environ)
    queue, batch = (environ.get(f"OTEL_BSP_{name}", "").strip() for name in ("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"))
    if queue and batch and int(batch) > int(queue):
        raise SettingError(
            f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE={int(batch)} is not allowed: "
            f"it takes no more than OTEL_BSP_MAX_QUEUE_SIZE, which is {int(queue)}."
        )


def _parse(name: str, parse: Callable[[str], object], environ: Mapping[str, str]) -> None:
    text = environ.get(name, "")
    if not text:  # a space is a value: the SDK and the exporters read it as one, and fail
        return
    try:
        parse(text)
    except ValueError as error:
        raise SettingError(f"{name}={quoted(text)} is not allowed: it takes {error}.") from None
