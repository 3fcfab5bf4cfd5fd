"""Known protos: which gRPC methods return speech, and which fields of their messages contain text, voice, audio and success.

The table is a TOML file with one table for each method, named ``package.Service/Method``::

    ["acme.v1.Speech/Say"]
    request.text = ["text", "ssml"]         # needed; the first that is set counts
    request.voice = "voice.name"
    request.language = "voice.language"
    request.encoding = "config.encoding"    # a string or an enum
    request.sample_rate = "config.rate"     # Hz
    response.audio = "audio"                # needed
    response.success = "ok"                 # a bool: false is a failure, though the status is OK
    response.seconds = "duration"           # of audio in this message; or `milliseconds`
    encodings.PCM = "pcm16"                 # the known format of an encoding with another name
    format = "wav"                          # if the messages do not state it
    sample_rate = 24000                     # the same

A path is a field of the message, or of a message in it; a repeated field gives all its elements. The response may have ``encoding`` and
``sample_rate``, too, which then count, and ``provider`` and ``model``. The known protos are in ``protos.toml``.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher
from importlib import resources
from typing import Any

from otel_tts.core.formats import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.exchange import observe
from otel_tts.instrumentation.messages import Fields, Method, Missing
from otel_tts.semconv import AUDIO_FORMATS, OTHER
from otel_tts.settings import SettingError, Settings
from otel_tts.settings.named_file import GRPC_MAPPING, read_toml

_ALIKE = 0.85  # of two services or methods, from 0 to 1: with less, one is hardly the other one mistyped
_CONSEQUENCES = {
    "request": "So nothing is recorded of this method's calls.",
    "response": "So this method's requests are recorded without audio: neither its seconds nor whether any came.",
}
"""What comes of a message without its essential field."""
_logger = logging.getLogger(__name__)
_NAME = re.compile(r"(\w+\.)*\w+/\w+")
_PATH = re.compile(r"\w+(\.\w+)*")
_REQUEST = ("text", "voice", "language", "encoding", "sample_rate")
_RESPONSE = ("audio", "success", "encoding", "sample_rate", "seconds", "milliseconds", "provider", "model")
_FORMATS = tuple(name for name in AUDIO_FORMATS if name != OTHER)


class Protos:
    """The known methods, by name. Pass it to :func:`otel_tts.grpc.server_interceptor` as ``mapping``.

    Args:
        methods: by full name.
        own: the names of those that the user's file names.
    """

    def __init__(self, methods: Mapping[str, Method], own: Collection[str] = ()) -> None:
        self._methods = methods
        self._own = frozenset(own)
        self._asked: set[str] = set()

    @property
    def own(self) -> Sequence[str]:
        """The methods that the user's file names."""
        return sorted(self._own)

    def __contains__(self, method: object) -> bool:
        return method in self._methods

    def observe(
        self, behavior: Any, method: str, telemetry: Telemetry, *, request_streaming: bool, response_streaming: bool
    ) -> Any:
        """Return the function to call in place of a handler's function; for an unknown method, that function itself.

        request_streaming, response_streaming: whether requests and responses are streams.

        Args:
            behavior: the handler's function.
            method: the full name.
            telemetry: the Telemetry that records.
            request_streaming: whether the caller sends several messages.
            response_streaming: whether the handler sends several messages.
        """
        observed = self._methods.get(method)
        if observed is None and (meant := [name for name in sorted(self._own - self._asked) if _is_alike(name, method)][:1]):
            _logger.warning(
                "The gRPC mapping names %r, which nobody has called yet, and not %r, which was called now: is that the method? "
                "Until the mapping names it, nothing is recorded of it.",
                *meant, method,
            )  # fmt: skip
        self._asked.add(method)
        return (
            behavior
            if observed is None
            else observe(
                behavior, observed, telemetry, request_streaming=request_streaming, response_streaming=response_streaming
            )
        )


def _is_alike(name: str, method: str) -> bool:
    """Whether a method may be another one mistyped: by its service and by its own name, however long what they share is."""
    pairs = zip(name.casefold().split("/"), method.casefold().split("/"), strict=False)
    return all(SequenceMatcher(None, *pair).ratio() >= _ALIKE for pair in pairs)


def load(settings: Settings | None = None) -> Protos:
    """Load the known protos, and those of the user's file, if the settings name one.

    Args:
        settings: with methods of one's own; None: those of the environment.

    Raises:
        SettingError: the file cannot be used; the message names it, the key in it, and what is allowed.
    """
    settings = settings if settings is not None else Settings.load()
    own: Mapping[str, Method] = {}
    methods = _methods(tomllib.loads(resources.files(__package__).joinpath("protos.toml").read_text("utf-8")), "protos.toml")
    if settings.grpc_mapping:
        own = _methods(read_toml(GRPC_MAPPING, settings.grpc_mapping), settings.grpc_mapping, report=True)
    return Protos({**methods, **own}, own)


def _methods(tables: Mapping[str, Any], file: str, *, report: bool = False) -> dict[str, Method]:
    return {name: _Reader(file, name, report=report).method(table) for name, table in tables.items()}


class _Reader:
    """Reader of the table of one method; its errors say where the table is wrong.

    Args:
        file: for messages.
        method: full name.
        report: whether paths that messages have not are worth a line: the known protos have paths of several versions.
    """

    def __init__(self, file: str, method: str, *, report: bool) -> None:
        self._report = report
        self._file = file
        self._method = method

    def method(self, table: Any) -> Method:
        if not _NAME.fullmatch(self._method):
            raise self._wrong("", 'the name of a table is a method, such as "acme.v1.Speech/Say"')
        self._keys("", table, ("request", "response", "encodings", "format", "sample_rate"))
        encodings = table.get("encodings", {})
        if not isinstance(encodings, dict):
            raise self._wrong("encodings", "it takes a table of names with a format for each")
        for encoding, name in encodings.items():
            self._format(f"encodings.{encoding}", name)
        if "format" in table:
            self._format("format", table["format"])
        rate = table.get("sample_rate")
        if rate is not None and not (type(rate) is int and LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ):
            allowed = f"it takes Hz, a whole number from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
            raise self._wrong("sample_rate", f"{rate!r} is not allowed: {allowed}")
        return Method(
            self._fields("request", table.get("request", {}), _REQUEST),
            self._fields("response", table.get("response", {}), _RESPONSE),
            encodings,
            table.get("format"),
            rate,
        )

    def _fields(self, side: str, table: Any, allowed: Sequence[str]) -> Fields:
        self._keys(side, table, allowed)
        if allowed[0] not in table:
            raise self._wrong(f"{side}.{allowed[0]}", "it is missing, and without it there is nothing to see")
        return Fields(
            {key: self._paths(f"{side}.{key}", value) for key, value in table.items()},
            essential=allowed[0],
            missing=self._missing(side) if self._report else None,
            lenient=self._report and side == "response",
        )

    def _missing(self, side: str) -> Missing:
        """Give the function that reports paths that a type of messages has not. It is called once for each type."""

        def missing(descriptor: Any, absent: Sequence[tuple[str, str]], *, is_other: bool) -> None:
            _logger.warning(
                "The gRPC mapping %r, %r: %s has no field of a type that fits at %s. Its fields are %s. %s",
                self._file,
                self._method,
                descriptor.full_name,
                ", ".join(f"{side}.{key} = {path!r}" for key, path in absent),
                ", ".join(field.name for field in descriptor.fields),
                _CONSEQUENCES[side] if is_other else "What the other paths lead to is recorded.",
            )

        return missing

    def _paths(self, key: str, value: Any) -> Sequence[str]:
        paths = value if isinstance(value, list) else [value]
        if not paths or not all(isinstance(path, str) and _PATH.fullmatch(path) for path in paths):
            raise self._wrong(key, f'{value!r} is not allowed: it takes a path such as "voice.name", or a list of them')
        return paths

    def _format(self, key: str, name: Any) -> None:
        if name not in _FORMATS:
            raise self._wrong(key, f"{name!r} is not allowed: it takes one of {', '.join(_FORMATS)}")

    def _keys(self, key: str, table: Any, allowed: Sequence[str]) -> None:
        if not isinstance(table, dict):
            raise self._wrong(key, f"it takes a table with {', '.join(allowed)}")
        for unknown in sorted(table.keys() - set(allowed)):
            raise self._wrong(f"{key}.{unknown}".lstrip("."), f"there is no such key: allowed are {', '.join(allowed)}")

    def _wrong(self, key: str, what: str) -> SettingError:
        where = f"{key} of {self._method!r}" if key else repr(self._method)
        return GRPC_MAPPING.refused(self._file, f"is not usable, {where}: {what}.")
