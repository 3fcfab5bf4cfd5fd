"""Traffic: what callers ask of a speech service, planned from a seed. Nothing here sends anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random

from otel_tts.commands.load import texts
from otel_tts.service.proto.yap.tts.v1 import tts_pb2

Request = tts_pb2.SynthesizeRequest

_STREAMED = 0.5  # of the valid requests
_UNNAMED = 0.3  # of the valid requests: no voice is asked for
_PINNED = 0.15  # of those that name a voice: its provider too, and so nobody stands in for it
_RECENT = 3  # how far back a caller looks for something to repeat
_UNARY_ENCODINGS = (tts_pb2.AUDIO_ENCODING_UNSPECIFIED,) * 17 + (
    tts_pb2.AUDIO_ENCODING_FLAC,
    tts_pb2.AUDIO_ENCODING_MP3,
    tts_pb2.AUDIO_ENCODING_OPUS,
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One call to make.

    patience_s: the caller's deadline, in seconds; None for one that is never meant to pass. hangs_up: the caller goes away after
    the first audio; only of streams. invalid: every service refuses it, before it asks an engine.
    """

    request: Request
    stream: bool
    patience_s: float | None = None
    hangs_up: bool = False
    invalid: bool = False

    @property
    def characters(self) -> int:
        """Unicode code points of the text or SSML."""
        return len(self.request.ssml if self.request.WhichOneof("input") == "ssml" else self.request.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What share of the calls is of which kind. The rest asks for what many ask for, with good chances of a cache hit."""

    fresh: float
    """A text that nobody has sent before."""
    repeated: float
    """What was asked for a moment ago, and may still be in the making."""
    invalid: float
    hang_ups: float = 0.0
    impatient: float = 0.0


def plan(voices: Sequence[tts_pb2.Voice], mix: Mix, seed: int) -> Iterator[Planned]:
    """Calls without end, the same for the same seed. Each kind has its share in every stretch of them, not only in the long run.

    Args:
        voices: those of the service.
        mix: how often each kind of request is sent.
        seed: of the chance: the same seed gives the same traffic.

    Raises:
        ValueError: none of the voices speaks a language that there are texts for.
    """
    random = Random(seed)  # noqa: S311 - nobody is to be surprised by it
    speakers = [voice for voice in voices if _language(voice) in texts.POPULAR]
    if not speakers:
        raise ValueError(f"No voice of the service speaks a language that there are texts for: {', '.join(texts.POPULAR)}.")
    by_provider: dict[str, list[tts_pb2.Voice]] = {}
    for voice in speakers:
        by_provider.setdefault(voice.provider, []).append(voice)
    providers = list(by_provider.values())
    recent = [_spoken(random, providers, texts.popular)]
    shares = {**asdict(mix), "popular": 1 - sum(asdict(mix).values())}
    for kind in _in_shares(shares, random):
        match kind:
            case "fresh":
                recent = [*recent, _spoken(random, providers, texts.fresh)][-_RECENT:]
                yield recent[-1]
            case "repeated":
                yield random.choice(recent)
            case "invalid":
                yield Planned(random.choice(_INVALID)(random), stream=random.random() < _STREAMED, invalid=True)
            case "hang_ups":
                yield Planned(Request(text=texts.story(random), no_cache=True), stream=True, hangs_up=True)
            case "impatient":
                patience_s = random.uniform(0.4, 0.6)  # long enough for a busy service to hear of it, too short for a story
                yield Planned(Request(text=texts.story(random), no_cache=True), stream=True, patience_s=patience_s)
            case _:
                yield _spoken(random, providers, texts.popular)


def _in_shares(shares: Mapping[str, float], random: Random) -> Iterator[str]:
    """The kinds, evenly mixed: what has fallen behind its share most comes next."""
    due = {kind: random.random() for kind in shares}
    while True:
        for kind, share in shares.items():
            due[kind] += share
        kind = max(due, key=lambda kind: due[kind] if shares[kind] else -math.inf)
        due[kind] -= 1
        yield kind


def _spoken(random: Random, providers: Sequence[Sequence[tts_pb2.Voice]], text: Callable[[str, Random], str]) -> Planned:
    voice = random.choice(random.choice(providers))
    if random.random() < _UNNAMED:
        language = _language(providers[0][0])
        request = Request(text=text(language, random), language=language)
    else:
        request = Request(text=text(_language(voice), random), voice=voice.id)
        if random.random() < _PINNED:
            request.provider = voice.provider
    stream = random.random() < _STREAMED
    if not stream:
        request.encoding = random.choice(_UNARY_ENCODINGS)
    return Planned(request, stream)


def _language(voice: tts_pb2.Voice) -> str:
    """The language to speak to it in, without its region; English for a voice that speaks any."""
    return "en" if voice.language == "mul" else voice.language.partition("-")[0].lower()


_INVALID: Sequence[Callable[[Random], Request]] = (
    lambda _: Request(text=""),
    lambda random: Request(text=random.choice(("...", "?!", "🙂🙂🙂", "   "))),
    lambda random: Request(text=f"Bell {random.randrange(100)}: \x07."),
    lambda random: Request(text="Who speaks?", voice=f"nobody-{random.randrange(10**6)}"),
    lambda random: Request(text="Who speaks?", provider=f"nobody-{random.randrange(10**6)}"),
    lambda _: Request(text="In which language?", language="no language"),
    lambda random: Request(text="How fast?", speaking_rate=random.choice((0.0, -1.0, 1000.0, math.nan, math.inf))),
    lambda _: Request(text="As what?", encoding=99),  # type: ignore[arg-type]  # a number that the API does not have
    lambda _: Request(ssml="<speak>There is no end to this."),
)
"""Requests that every service refuses, whatever its engines, before it asks one."""
