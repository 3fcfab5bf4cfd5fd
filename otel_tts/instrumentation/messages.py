"""A known gRPC method, and the reader of its protobuf messages: a table states which field contains what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, Encoded, MuLaw, PCMFloat32, Wav
from otel_tts.core.formats import stated
from otel_tts.semconv import OTHER

Values = Mapping[str, Sequence[Any]]
"""The values that are set in a message, by key; several if a field on the path is repeated."""

_SAMPLES = {kind.name: kind for kind in (PCM16, PCMFloat32, MuLaw, ALaw)}
_TEXT = ("STRING",)
_WHOLE = ("INT32", "INT64", "UINT32", "UINT64", "SINT32", "SINT64", "FIXED32", "FIXED64", "SFIXED32", "SFIXED64")
_NUMBER = (*_WHOLE, "FLOAT", "DOUBLE")
_TYPES: Mapping[str, Sequence[str]] = {
    "text": _TEXT,
    "voice": _TEXT,
    "language": _TEXT,
    "encoding": (*_TEXT, "ENUM"),
    "sample_rate": _WHOLE,
    "audio": ("BYTES",),
    "success": ("BOOL",),
    "seconds": _NUMBER,
    "milliseconds": _NUMBER,
    "provider": _TEXT,
    "model": _TEXT,
}  # the protobuf field types that are allowed for each key


class Missing(Protocol):
    """A report of paths that a type of messages has not."""

    def __call__(self, descriptor: Any, absent: Sequence[tuple[str, str]], *, is_other: bool) -> None:
        """Report them.

        Args:
            descriptor: of the type.
            absent: keys, and the paths of them that lead to no field of an allowed type.
            is_other: whether it is without any path of the essential key.
        """


class Fields:
    """The fields of messages: by key, paths such as ``voice.name``; the first one that is set counts.

    A message whose type has no field at any path of the key ``essential`` is not the type that the table describes. Nothing is read
    from it, unless ``lenient``.

    Args:
        paths: by field, where it may stand in a message.
        essential: the key without which a message says nothing of speech.
        lenient: whether the other keys are read from a type without the essential one: where a user's table has the wrong path.
        missing: is called for each type of messages that has not all paths: with its descriptor, the keys and paths that it has not, and
            whether it is without any path of the essential key.
    """

    def __init__(
        self, paths: Mapping[str, Sequence[str]], essential: str, missing: Missing | None = None, *, lenient: bool = False
    ) -> None:
        self._lenient = lenient
        self._paths = paths
        self._essential = essential
        self._missing = missing
        self._paths_by_type: dict[type, Mapping[str, Sequence[_FieldPath]] | None] = {}

    def read(self, message: Any) -> Values | None:
        """Return the values of ``message``; None if it is not such a message."""
        message = _unwrapped(message)
        if message is None:
            return None
        kind = type(message)
        if kind not in self._paths_by_type:
            self._paths_by_type[kind] = self._find(message.DESCRIPTOR)
        paths_by_key = self._paths_by_type[kind]
        if paths_by_key is None:
            return None
        values_by_key = {
            key: next(filter(None, (path.values(message) for path in paths)), ()) for key, paths in paths_by_key.items()
        }
        return {key: values for key, values in values_by_key.items() if values}

    def has_essential(self, message: Any) -> bool:
        """Whether messages of this type have a field for the essential key.

        Args:
            message: one that was read.
        """
        return self._essential in (self._paths_by_type.get(type(_unwrapped(message))) or ())

    def _find(self, descriptor: Any) -> Mapping[str, Sequence[_FieldPath]] | None:
        """Return the paths that exist in messages of this type."""
        paths_by_key: dict[str, list[_FieldPath]] = {}
        absent = []
        for key, paths in self._paths.items():
            for name in paths:
                path = _find(descriptor, name.split("."), _TYPES[key])
                if path is None:
                    absent.append((key, name))
                else:
                    paths_by_key.setdefault(key, []).append(path)
        is_other = self._essential not in paths_by_key
        if absent and self._missing is not None:
            self._missing(descriptor, absent, is_other=is_other)
        return None if is_other and not self._lenient else paths_by_key


def _unwrapped(message: Any) -> Any:
    """Return the protobuf message; None if it is none."""
    if hasattr(message, "DESCRIPTOR"):
        return message
    unwrap = getattr(type(message), "pb", None)  # proto-plus, as Google's packages have it, wraps the message
    return None if unwrap is None else unwrap(message)


@dataclass(frozen=True)
class Method:
    """One gRPC method that returns speech."""

    request: Fields
    response: Fields
    encodings: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None
    sample_rate: int | None = None

    def audio_format(self, encoding: str | None, sample_rate: int | None) -> AudioFormat:
        """Return the format of the audio by what the messages state; it has one channel.

        Args:
            encoding: as the message says it; None: it does not.
            sample_rate: in Hz; None: the message does not say it.
        """
        name = (self.format or OTHER) if encoding is None else self.encodings.get(encoding, encoding).lower()
        if name == Wav.name:
            return Wav()
        rate = sample_rate or self.sample_rate
        return stated(_SAMPLES.get(name, name), rate) if rate else Encoded(name)


class _PathStep(NamedTuple):
    name: str
    presence: bool
    repeated: bool


class _FieldPath(NamedTuple):
    steps: Sequence[_PathStep]
    names: Mapping[int, str] | None
    """The names of an enum's values; None for other types."""

    def values(self, message: Any) -> list[Any]:
        """Return the values that are set, without empty strings and unspecified enum values."""
        values: list[Any] = [message]
        for step in self.steps:
            holders, values = values, []
            for holder in holders:
                if step.presence and not holder.HasField(step.name):
                    continue
                value = getattr(holder, step.name)
                if step.repeated:
                    values.extend(value)
                else:
                    values.append(value)
        if self.names is not None:
            values = [self.names.get(value, "") for value in values]
            values = [name for name in values if not name.endswith("UNSPECIFIED")]
        return [value for value in values if value not in ("", b"")]


def _find(descriptor: Any, names: Sequence[str], types: Sequence[str]) -> _FieldPath | None:
    steps = []
    field = None
    for name in names:
        field = descriptor.fields_by_name.get(name) if descriptor is not None else None
        if field is None:
            return None
        descriptor = field.message_type
        if descriptor is not None and descriptor.GetOptions().map_entry:
            return None
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        steps.append(_PathStep(name, field.has_presence and not repeated, repeated))
    if field is None or field.type not in [getattr(field, f"TYPE_{name}") for name in types]:
        return None
    enum = field.enum_type
    return _FieldPath(steps, None if enum is None else {number: value.name for number, value in enum.values_by_number.items()})
