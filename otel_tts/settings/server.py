"""How an HTTP server is reached: the variables are named like those of the OTLP exporter, once for each server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from otel_tts.settings.section import Section, Variable, setting
from otel_tts.settings.values import Headers, allowance, header_list, path, redact_url, some_seconds, url


@dataclass(frozen=True, kw_only=True, repr=False)
class ServerSettings(Section):
    """One HTTP server. A subclass for a server says how its variables begin and what it is.

    title: what it is, for people. url: empty where it is not known. timeout: seconds.
    """

    title: ClassVar[str] = "the server"
    _prefix: ClassVar[str] = ""
    _about: ClassVar[str] = "Where it is."

    url: str = setting("URL", url, "", "")
    headers: Headers = setting("HEADERS", header_list, Headers(), "Headers of each request to {title}, such as Authorization.")
    headers_file: Path | None = setting(
        "HEADERS_FILE", path, None, "A file with further headers for {title}, read again for each request: tokens may change."
    )
    certificate: Path | None = setting(
        "CERTIFICATE", path, None, "The PEM file of the authorities that may have signed the certificate of {title}."
    )
    client_certificate: Path | None = setting("CLIENT_CERTIFICATE", path, None, "The PEM file of our certificate for {title}.")
    client_key: Path | None = setting("CLIENT_KEY", path, None, "The PEM file of its private key, if that is another file.")
    timeout: float = setting(
        "TIMEOUT", some_seconds, 30.0, "Seconds that {title} may take to begin its response, and between two parts of it."
    )

    def __init_subclass__(cls, *, prefix: str, title: str, about: str) -> None:
        cls._prefix, cls.title, cls._about = prefix, title, about

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact_url(self.url)})"

    @classmethod
    def _variables(cls) -> Iterator[tuple[str, Variable]]:
        for name, variable in super()._variables():
            description = cls._about if name == "url" else variable.description.format(title=cls.title)
            yield name, replace(variable, name=f"{cls._prefix}{variable.name}", description=description)


@dataclass(frozen=True, kw_only=True, repr=False)
class PrometheusServer(
    ServerSettings,
    prefix="OTEL_TTS_PROMETHEUS_",
    title="Prometheus",
    about="Prometheus, or what answers its API: where readers take metrics from, in place of local files. Goes with OTEL_TTS_JAEGER_URL.",
):
    """Where metrics are. stores_away: see its variable."""

    stores_away: int = setting(
        "STORES_AWAY",
        allowance,
        0,
        "How many of Thanos's stores may be away without anything missing: the copies of a sample that a write waits for, less one.",
    )


class JaegerServer(
    ServerSettings,
    prefix="OTEL_TTS_JAEGER_",
    title="Jaeger",
    about="Jaeger's API: where readers take traces from. Goes with OTEL_TTS_PROMETHEUS_URL.",
):
    """Where traces are."""


class TempoServer(ServerSettings, prefix="OTEL_TTS_TEMPO_", title="Tempo", about="Tempo's API, in place of Jaeger's."):
    """Where traces are as well."""


class GrafanaServer(
    ServerSettings,
    prefix="OTEL_TTS_GRAFANA_",
    title="Grafana",
    about="Grafana: where the live dashboard links to, from a request to its trace, and what `otel-tts doctor` asks.",
):
    """Grafana."""


class CollectorServer(
    ServerSettings,
    prefix="OTEL_TTS_COLLECTOR_",
    title="the Collector",
    about="The Collector's health check, for `otel-tts doctor`; unless set, port 13133 of the host that OTEL_EXPORTER_OTLP_ENDPOINT "
    "names, else of this machine.",
):
    """The Collector."""
