"""The speech engines of the reference service. Each is an optional extra and imported only when it is created."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from otel_tts.errors import OtelTtsError
from otel_tts.service.providers.base import EngineError, Provider

__all__ = ["ENGINES", "EngineError", "MissingEngineError", "Provider", "create"]

ENGINES = {"espeak": "Espeak", "hibari": "Hibari", "openai": "OpenAI", "piper": "Piper"}
"""Each provider's name, which is that of its module in this package, and the class in it."""


class MissingEngineError(OtelTtsError, RuntimeError):
    """The engine's extra is not installed; the message says how to install it."""


def create(name: str, environ: Mapping[str, str] | None = None) -> Provider:
    """The provider ``name``, configured by the environment; still to be started.

    Args:
        name: the name.
        environ: the environment variables; None: those of this process.

    Raises:
        ValueError: there is no such provider.
        MissingEngineError: its extra is not installed.
        otel_tts.settings.SettingError: one of its variables has a value that is not allowed.
    """
    if name not in ENGINES:
        raise ValueError(f"There is no provider {name!r}; there are {', '.join(ENGINES)}.")
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        extra = "service" if name == "openai" else name
        raise MissingEngineError(
            f"The provider {name} needs the Python module {error.name}, which is not installed. "
            f'Install it with: pip install "otel-tts[{extra}]"'
        ) from error
    provider: Provider = getattr(module, ENGINES[name]).create(environ)
    return provider
