"""The decision whether spans and histograms take the direct path, and the reason. It is made only here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otel_tts.sdk.exporters import Destination
from otel_tts.settings import Settings

_SENDERS = {"otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
_CREDENTIALS = (
    "OTEL_PYTHON_EXPORTER_OTLP_{}_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_{}_TRACES_CREDENTIAL_PROVIDER",
)


@dataclass(frozen=True, slots=True)
class Path:
    """The path of one signal. ``reason``: why it is not the direct one; empty when it is."""

    reason: str = ""

    @property
    def is_direct(self) -> bool:
        """Whether it is the direct path."""
        return not self.reason

    def __str__(self) -> str:
        return "direct" if self.is_direct else f"the SDK's: {self.reason}"


def path_of_spans(ways: Sequence[Destination], settings: Settings, environ: Mapping[str, str]) -> Path:
    """Decide on the path of the spans that go to ``ways``, on a provider of ours.

    Args:
        ways: where the signal is exported to.
        settings: the settings.
        environ: the environment variables.
    """
    if not settings.direct:
        return Path(f"{Settings.variable('direct')} is false")
    if _reports_on_itself(environ):
        return Path("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED is true")
    if not ways:
        return Path("they go nowhere")
    if len(ways) > 1:
        return Path("they go to more than one exporter")
    way = ways[0]
    if way.is_local:
        return Path()
    if way.exporter not in _SENDERS:
        return Path(f"{way.exporter} is an exporter of its own")
    kind = "GRPC" if way.exporter == "otlp_proto_grpc" else "HTTP"
    for name in _CREDENTIALS:
        if environ.get(name.format(kind), "").strip():
            return Path(f"{name.format(kind)} is set")
    return Path()


def protocol_of(way: Destination) -> str:
    """Return ``grpc`` or ``http/protobuf``.

    Args:
        way: where spans are exported to.
    """
    return _SENDERS[way.exporter]


def path_of_histograms(ways: Sequence[Destination], settings: Settings, environ: Mapping[str, str]) -> Path:
    """Decide on the path of the histograms that go to ``ways``, and perhaps to the pull endpoint, on a provider of ours.

    Args:
        ways: where the signal is exported to.
        settings: the settings.
        environ: the environment variables.
    """
    if not settings.direct:
        return Path(f"{Settings.variable('direct')} is false")
    if _reports_on_itself(environ):
        return Path("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED is true")
    exemplars = environ.get("OTEL_METRICS_EXEMPLAR_FILTER", "").strip().lower()
    if exemplars not in ("", "trace_based"):
        return Path(f"OTEL_METRICS_EXEMPLAR_FILTER is {exemplars}")
    for way in ways:
        if way.is_local:
            continue
        if way.exporter not in _SENDERS:
            return Path(f"{way.exporter} is an exporter of its own")
    return Path()


def _reports_on_itself(environ: Mapping[str, str]) -> bool:
    return environ.get("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "").strip().lower() == "true"
