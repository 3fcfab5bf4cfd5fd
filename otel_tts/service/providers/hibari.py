"""Hibari: small, fast neural voices for English, Apache-2.0."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import hibari
import numpy as np
from hibari.voices import VOICES, voice_path

from otel_tts.service.providers.local import LocalProvider
from otel_tts.service.speech import EngineRequest, Voice


class Hibari(LocalProvider):
    """The voice in Hibari's package, and those that Hibari downloaded on this machine before."""

    name = "hibari"
    rates = (0.5, 2.0)  # beyond, the pace no longer follows
    version = hibari.__version__

    def __init__(self) -> None:
        super().__init__(concurrency=os.cpu_count() or 1)
        self._loaded: dict[str, hibari.Hibari] = {}
        self.voices = [
            Voice(
                id=name,
                provider=self.name,
                language=about["language"],
                name=name.capitalize(),
                model=f"hibari-{name}",
                sample_rate=hibari.SAMPLE_RATE,
                gender=about["gender"],
            )
            for name, about in VOICES.items()
            if _present(name)
        ]

    @classmethod
    def create(cls, environ: Mapping[str, str] | None = None) -> Hibari:
        """Hibari has no settings.

        Args:
            environ: the environment variables; None: those of this process.
        """
        return cls()

    def load(self) -> None:
        """Load all voices."""
        for voice in self.voices:
            self._loaded[voice.id] = engine = hibari.Hibari(voice.id, threads=1)
            engine("1")  # loads its dictionaries, which no lock guards

    def speak(self, text: str, speech: EngineRequest, voice: Voice) -> Iterator[bytes]:
        """Sentence by sentence, and always the same for the same text; nothing for what is not Latin script."""
        for samples in self._loaded[voice.id].stream(text, speed=speech.rate, seed=0):
            yield (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()


def _present(name: str) -> bool:
    try:
        voice_path(name, download_missing=False)
    except FileNotFoundError:
        return False
    return True
