"""Catalog: the voices there are, and which of them suits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otel_tts.service.failures import NotFoundError
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.service.providers import Provider
from otel_tts.service.speech import Voice

_LONGEST = 60  # code points of a caller's word that a message repeats


def voices(providers: Sequence[Provider], request: tts_pb2.ListVoicesRequest) -> list[Voice]:
    """The voices asked for, those of the preferred provider first.

    Args:
        providers: in the order of preference.
        request: what the caller asks for.

    Raises:
        NotFoundError: there is no such provider.
    """
    if request.provider:
        providers = [one(request.provider, providers)]
    return [voice for provider in providers for voice in provider.voices if _within(voice.language, request.language)]


def one(name: str, providers: Sequence[Provider]) -> Provider:
    """The provider of that name.

    Args:
        name: of the voice.
        providers: in the order of preference.

    Raises:
        NotFoundError: there is none.
    """
    for provider in providers:
        if provider.name == name:
            return provider
    raise NotFoundError(f"There is no provider {short(name)}. Use one of {names(providers)}, or none.")


def suits(voice: Voice, language: str) -> int:
    """How well a voice suits a language: 3 exactly, 2 it speaks any, 1 the same language of another region, 0 not at all.

    Args:
        voice: of a provider.
        language: a BCP 47 tag.
    """
    if _within(voice.language, language):
        return 3
    if voice.language == "mul":
        return 2
    return int(_primary(voice.language) == _primary(language))


def best(provider: Provider, language: str) -> Voice | None:
    """The provider's voice that suits the language best, the first of equals; None when none does.

    Args:
        provider: the provider.
        language: a BCP 47 tag.
    """
    voice = max(provider.voices, key=lambda voice: suits(voice, language))
    return voice if suits(voice, language) else None


def names(providers: Iterable[Provider]) -> str:
    """The providers, for a message.

    Args:
        providers: in the order of preference.
    """
    return ", ".join(provider.name for provider in providers)


def short(word: str) -> str:
    """A caller's word, for a message.

    Args:
        word: from the caller.
    """
    return repr(word if len(word) <= _LONGEST else word[:_LONGEST] + "…")


def _within(spoken: str, language: str) -> bool:
    """Whether one BCP 47 tag is the other or narrower: en-US is within en. Everything is within no language."""
    return not language or f"{spoken.lower()}-".startswith(f"{language.lower()}-")


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
