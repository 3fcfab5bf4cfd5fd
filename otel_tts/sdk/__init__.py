"""Set-up of the OpenTelemetry SDK: `configure`."""

from __future__ import annotations

import logging
import operator
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from otel_tts.core.arguments import LOGGER_PROVIDER, METER_PROVIDER, SETTINGS, TRACER_PROVIDER, Rule, check
from otel_tts.core.fork import ForkAware, register
from otel_tts.sdk.threads import can_start
from otel_tts.settings import Settings, misspelt, standard

if TYPE_CHECKING:
    from opentelemetry import metrics, trace
    from opentelemetry._logs import LoggerProvider

    from otel_tts.sdk.pipeline import Pipeline

__all__ = ["configure"]

_logger = logging.getLogger(__name__)


class _Configured(ForkAware):
    """The pipeline that `configure` has set up in this process, and its arguments."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.first_call: tuple[Mapping[str, Any], Pipeline] | None = None
        self.without_code = False
        register(self)

    def after_fork_in_child(self) -> None:
        """Replace the lock: another thread of the parent may have been in the middle of `configure`, and would hold it for ever."""
        self.lock = threading.Lock()


_configured = _Configured()
_CALLED = "configure() has been called before with other arguments (%s): the first call counts."
_ENDED = (
    "configure() has been called after the pipeline that it set up was shut down: OpenTelemetry's providers are set once in a process, so "
    "nothing is recorded any more. Call pipeline.flush() to export what there is and go on (in a notebook, say), or restart the process."
)


def _is_port(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and 0 <= operator.index(value) <= 65_535
    except TypeError:
        return False


_SWITCH = Rule(lambda value: isinstance(value, int) or type(value).__name__ in ("bool", "bool_"), "True or False")  # numpy's, too
_RULES: Mapping[str, Rule] = {
    "service_name": Rule(lambda value: isinstance(value, str), "a string"),
    "tracer_provider": TRACER_PROVIDER,
    "meter_provider": METER_PROVIDER,
    "logger_provider": LOGGER_PROVIDER,
    "settings": SETTINGS,
    "prometheus_port": Rule(_is_port, "a whole number from 0 to 65535"),
    "local": _SWITCH,
    "logs": _SWITCH,
    "handle_sigterm": _SWITCH,
    "resource": Rule(lambda value: isinstance(value, Mapping), "a mapping of names to values"),
    "monitor": _SWITCH,
}
_THREADS = 16
"""Of the export of all signals, and of the libraries that it uses."""
_NO_THREADS = (
    "Telemetry is off: this process cannot start the threads that export it (up to %d). Raise its limit (ulimit -u, pids_limit, "
    "TasksMax), and restart it. The service itself is not affected."
)
_STARTED = (
    "otel-tts run or opentelemetry-instrument has set up telemetry before the program began, so these arguments of configure() are not "
    "used: %s. Set variables instead, such as OTEL_SERVICE_NAME for service_name, or start the program without that command."
)


def configure(
    *,
    service_name: str | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    settings: Settings | None = None,
    prometheus_port: int | None = None,
    local: bool | None = None,
    logs: bool = True,
    handle_sigterm: bool | None = None,
    resource: Mapping[str, Any] | None = None,
    monitor: bool | None = None,
) -> Pipeline:
    """Set up providers, exporters and resource for the process; call it once, at start.

    Standard ``OTEL_*`` variables are supported. Each signal goes to the exporters that ``OTEL_<SIGNAL>_EXPORTER`` names; else over
    OTLP when an endpoint is set (without a protocol variable: gRPC to port 4317, else http/protobuf); else to local files, if these
    are switched on. Metrics are exported every 10 seconds unless ``OTEL_METRIC_EXPORT_INTERVAL`` sets another interval.

    A global provider that the host has set already is used unchanged, and never shut down. At exit everything is flushed, within
    ``settings.shutdown_timeout`` seconds. A forked child exports by itself, from zero and under its own ``service.instance.id``;
    one that ends without ``atexit`` functions (``os._exit``, ``multiprocessing``, Celery) is flushed, too.

    Args:
        service_name: the name of the service, in place of ``OTEL_SERVICE_NAME``.
        tracer_provider: a provider to use unchanged, instead of the global one or one of ours; the global one is not changed.
        meter_provider: likewise, for metrics.
        logger_provider: likewise, for logs.
        settings: by default read from the environment.
        prometheus_port: the port of the Prometheus pull endpoint; 0 takes a free one. By default ``PROMETHEUS_PORT``, if that is set
            in the environment; else there is no endpoint.
        local: whether signals without an exporter go to files in ``settings.data_dir``; by default only if that is set.
        logs: whether records that reach the root logger are exported.
        handle_sigterm: whether to flush if SIGTERM would end the process at once; by default only in the main thread. A handler of the
            host is not changed, nor is the exit status of the process; see ``docs/shutdown.md``.
        resource: further resource attributes.
        monitor: whether the process judges its own metrics as they are exported, and warns in the log of ``otel_tts.monitor`` when
            requests fail, latency exceeds its reference or a provider becomes unavailable, and again when that is over; by default
            ``settings.monitor``.

    Returns:
        The pipeline. A second call returns the first one's, and warns if the arguments differ, or if it has been shut down.

    Raises:
        SettingError: a variable or argument has a value that is not allowed, or the requested port is in use.
        ValueError: ``handle_sigterm`` in another thread than the main one.
    """
    arguments = {name: value for name, value in locals().items() if value is not None}
    check("configure", arguments, _RULES)
    with _configured.lock:
        if _configured.first_call is None:
            standard.check(os.environ)
            misspelt.warn(os.environ)
            _configured.first_call = (
                arguments,
                _build({**arguments, "settings": settings if settings is not None else Settings.load()}),
            )
        first, pipeline = _configured.first_call
    if pipeline.has_ended:
        _logger.warning(_ENDED)
    given = arguments.keys() if _configured.without_code else first.keys() | arguments.keys()
    if differing := sorted(name for name in given if first.get(name) != arguments.get(name)):
        _logger.warning(_STARTED if _configured.without_code else _CALLED, ", ".join(differing))
    return pipeline


def _build(arguments: Mapping[str, Any]) -> Pipeline:
    # The SDK is imported here: a program that imports otel_tts and leaves telemetry to its host does not pay for it.
    if can_start(_THREADS):
        from otel_tts.sdk.providers import build

        return build(**arguments)
    from otel_tts.sdk.pipeline import without_exports  # the rest of the SDK starts threads already when it is imported

    _logger.error(_NO_THREADS, _THREADS)
    providers = [arguments.get(f"{name}_provider") for name in ("tracer", "meter", "logger")]
    return without_exports("off, since no threads can be started", arguments["settings"], *providers)


def configured_without_code() -> None:
    """Note that no code of the program has called :func:`configure`: its own first call finds everything set up."""
    _configured.without_code = True
