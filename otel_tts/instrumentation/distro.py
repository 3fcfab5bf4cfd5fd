"""The OpenTelemetry distribution: it sets up telemetry for a program without changes to its code.

It is started with one of::

    otel-tts run -- python service.py
    opentelemetry-instrument python service.py

If several distributions are installed, OpenTelemetry takes the one that Python's package metadata lists first, which depends on the file
system. ``OTEL_PYTHON_DISTRO=otel_tts`` selects ours; ``otel-tts run`` sets it: see ``docs/zero-code.md``.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # it switches its types off

from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation import NAME, disabled
from otel_tts.instrumentation.instrumentor import telemetry_of
from otel_tts.sdk import configure, configured_without_code
from otel_tts.settings import SettingError
from otel_tts.settings.values import quoted

if TYPE_CHECKING:
    from otel_tts.sdk.pipeline import Pipeline

_REPLACED = ("grpc_server", "grpc_aio_server")  # by our interceptors, which know how an RPC ended


class Distro(BaseDistro):  # type: ignore[misc]  # as above
    """Distribution that loads all installed instrumentors, except those that ours replace."""

    off = False
    """Whether nothing is observed: the SDK is disabled, or could not be set up."""

    def _configure(self, **kwargs: Any) -> None:
        type(self).off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        os.environ.setdefault(
            "OTEL_PYTHON_CONFIGURATOR", NAME
        )  # else the configurator of another distribution may be found first
        if not self.off:
            for sentence in disabled.misspelt(os.environ.get(disabled.VARIABLE, "")):
                sys.stderr.write(f"otel-tts: {sentence}\n")

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load one. If it fails, only its own telemetry is missing, and a message says so."""
        if self.off or entry_point.name in _REPLACED:
            return
        if entry_point.name == "logging":  # our handler exports the records, without the texts to speak
            kwargs["enable_log_auto_instrumentation"] = False
        try:
            super().load_instrumentor(entry_point, **kwargs)
        except (DependencyConflictError, ModuleNotFoundError):
            raise  # its library is not installed, or in another version: OpenTelemetry has its own message for that
        except Exception as error:  # noqa: BLE001 - the boundary: the program starts whatever an instrumentor does
            _complain(f"{entry_point.name} is not observed", error)


class Configurator:
    """Set-up of the SDK: by :func:`otel_tts.configure`, with local files and SIGTERM, or by ``OTEL_CONFIG_FILE``."""

    def configure(self, **kwargs: Any) -> None:
        """Set it up. If that fails, the program runs without telemetry, and one line says why.

        Args:
            kwargs: are those of OpenTelemetry's configurators.
        """
        try:
            if path := os.environ.get("OTEL_CONFIG_FILE", "").strip():
                _configure_from(path)
            else:
                configure(local=True, logs=_logs_wanted())
            configured_without_code()
            telemetry = telemetry_of(None, None)  # an error in its settings is reported once here, not by every instrumentor
            atexit.register(telemetry.run_deferred)  # runs before the pipeline's own function, and so its spans are exported
        except Exception as error:  # noqa: BLE001 - the boundary: the program starts whatever its telemetry does
            Distro.off = Telemetry._off = True  # noqa: SLF001 - nothing for applications
            _complain("telemetry is off", error)


def _configure_from(path: str) -> Pipeline:
    """Set up the SDK from the file, and add what the file cannot: log records without texts to speak, and a flush on SIGTERM."""
    try:
        configuration = importlib.import_module("opentelemetry.configuration")
    except ModuleNotFoundError:
        raise SettingError(
            f"OTEL_CONFIG_FILE={quoted(path)} needs a package that is not installed. "
            "Install it with: pip install opentelemetry-configuration"
        ) from None
    loader = logging.getLogger(configuration.load_config_file.__module__)
    loader.disabled = True  # it logs what it raises, with a stack trace
    try:
        configuration.configure_sdk(configuration.load_config_file(path))
    except configuration.ConfigurationError as error:
        raise SettingError(f"OTEL_CONFIG_FILE={quoted(path)} is not usable: {error}") from None
    except Exception as error:  # noqa: BLE001 - no text in UTF-8, nested too deeply, or a component that raises
        raise SettingError(f"OTEL_CONFIG_FILE={quoted(path)} is not usable: {type(error).__name__}: {error}") from None
    finally:
        loader.disabled = False
    return configure(
        tracer_provider=trace.get_tracer_provider(),
        meter_provider=metrics.get_meter_provider(),
        logger_provider=_logs.get_logger_provider(),
        logs=_logs_wanted(),
    )


def _logs_wanted() -> bool:
    return os.environ.get("OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION", "true").strip().lower() == "true"


def _complain(what: str, error: Exception) -> None:
    """Print one line to stderr: there is no telemetry at this point, and the program has not set up logging yet."""
    reason = str(error) if isinstance(error, SettingError) else f"{type(error).__name__}: {error}"
    sys.stderr.write(f"otel-tts: {what}: {' '.join(reason.split())}\n")
