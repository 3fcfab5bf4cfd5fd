"""Repeated attributes: what many spans have alike is one object, so that its bytes can be kept too."""

from __future__ import annotations

from collections.abc import Mapping

from otel_tts import semconv


class RepeatedAttributes(dict[str, str | bool | int | float | tuple[str, ...]]):
    """Attributes that come again with other spans. Nobody changes them.

    Args:
        attributes: the attributes; one that is None is left out.
    """

    __slots__ = ("encoded",)

    def __init__(self, attributes: Mapping[str, str | bool | int | float | tuple[str, ...] | None]) -> None:
        super().__init__((key, value) for key, value in attributes.items() if value is not None)
        self.encoded: bytes | None = None
        """Their bytes in a span, once the direct path has encoded them."""


def at_start(stream: bool, voice: str | None, language: str | None) -> dict[str, str | bool | int | float | tuple[str, ...]]:
    """Return the attributes with which the span of a request starts.

    Args:
        stream: whether audio is delivered in pieces.
        voice: as requested; None: unknown.
        language: as requested; None: unknown.
    """
    attributes: dict[str, str | bool | int | float | tuple[str, ...]] = {
        semconv.OPERATION_NAME.key: "text_to_speech",
        semconv.OUTPUT_TYPE.key: "speech",
        semconv.STREAM.key: stream,
    }
    if voice:
        attributes[semconv.VOICE.key] = voice
    if language:
        attributes[semconv.LANGUAGE.key] = language
    return attributes
