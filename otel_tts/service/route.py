"""Route: which providers may speak an order, with which of their voices, in which sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otel_tts.service.catalog import best, names, one, short, suits
from otel_tts.service.engine import Engine
from otel_tts.service.failures import NotFoundError
from otel_tts.service.order import Order
from otel_tts.service.providers import Provider
from otel_tts.service.speech import EngineRequest, InvalidInputError, UnsupportedError, Voice


@dataclass(frozen=True, slots=True)
class Leg:
    """One provider's turn."""

    engine: Engine
    voice: Voice
    speech: EngineRequest


def route(engines: Sequence[Engine], order: Order) -> list[Leg]:
    """At least one leg, the preferred one first; the others are its fallback.

    Without a voice, providers come as they are configured, each with its best voice for the language; those that only have it as
    another region speaks it come last. With a voice, those that have it come first, then the others with a voice for the same
    language: better another voice than silence. An order that names its provider is spoken by that provider or not at all.

    Args:
        engines: the engines, in the order of preference.
        order: the request, checked.

    Raises:
        NotFoundError: there is no such voice or provider, or no voice for the language.
        InvalidInputError: the voice does not speak the language, or a number is out of range.
        UnsupportedError: none of the providers can do what is asked.
    """
    providers = [engine.provider for engine in engines]
    if order.provider:
        providers = [one(order.provider, providers)]
    chosen = _by_voice(providers, order.voice, order.language) if order.voice else _by_language(providers, order.language)
    legs, refusals = [], []
    for provider, voice, language in chosen:
        speech = order.speech(voice, language)
        try:
            provider.accept(speech)
        except UnsupportedError as refusal:
            refusals.append(refusal)
        else:
            engine = next(engine for engine in engines if engine.provider is provider)
            legs.append(Leg(engine, voice, speech))
    if not legs:
        raise refusals[0]
    return legs


Chosen = list[tuple[Provider, Voice, str]]
"""Who speaks, with which voice, which language."""


def _by_voice(providers: Sequence[Provider], id: str, language: str) -> Chosen:
    having = [(provider, voice) for provider in providers if (voice := provider.voice(id))]
    if not having:
        raise NotFoundError(f"There is no voice {short(id)} at {names(providers)}. ListVoices tells which there are.")
    spoken = having[0][1].language
    fitting = [(provider, voice, language) for provider, voice in having if suits(voice, language)]
    if not fitting:
        raise InvalidInputError("language", f"The voice speaks {spoken}, not {short(language)}. Leave out one of the two.")
    others = [provider for provider in providers if not provider.voice(id)]
    return fitting + _speaking(others, language or ("" if spoken == "mul" else spoken))


def _by_language(providers: Sequence[Provider], language: str) -> Chosen:
    chosen = _speaking(providers, language)
    if not chosen:
        raise NotFoundError(
            f"There is no voice for the language {short(language)} at {names(providers)}. ListVoices tells which there are."
        )
    return chosen


def _speaking(providers: Sequence[Provider], language: str) -> Chosen:
    chosen = [(provider, voice, language) for provider in providers if (voice := best(provider, language))]
    return sorted(chosen, key=lambda choice: suits(choice[1], language) == 1)
