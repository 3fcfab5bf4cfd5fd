"""eSpeak NG: formant voices for over a hundred languages, and SSML. GPL-3.0-or-later, hence an extra; this module loads it.

Functions and constants: ``speak_lib.h`` of eSpeak NG 1.52.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Mapping
from functools import cache

import espeakng_loader

from otel_tts.service.providers.base import EngineError
from otel_tts.service.providers.config import EspeakSettings
from otel_tts.service.providers.local import LocalProvider
from otel_tts.service.speech import EngineRequest, InvalidInputError, Voice
from otel_tts.settings import SettingError, quoted

LONGEST = 600
"""Seconds of audio at most for one piece of text: breaks in SSML can ask for hours, which would be held in memory."""

_NORMAL_RATE, _NORMAL_VOLUME = 175, 100  # words a minute; percent
_OUTPUT_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_PARAMETER_RATE, _PARAMETER_VOLUME = 1, 2
_UTF8, _SSML = 0x01, 0x10
_CHARACTER_POSITION = 1
_GENDERS = {1: "male", 2: "female"}

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _VoiceRecord(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # one byte of priority, then the language
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class Espeak(LocalProvider):
    """A voice for each language. The library has one global state: one thread at a time speaks, whatever the voice.

    Args:
        settings: the settings.

    Raises:
        SettingError: a voice that is set is not there.
    """

    name = "espeak"
    rates = (0.5, 4.0)
    gains = (-40.0, 6.0)
    ssml = True

    def __init__(self, settings: EspeakSettings) -> None:
        super().__init__(concurrency=1)
        library = _library()
        offered = {voice.id: voice for voice in library.voices()}
        chosen = tuple(offered) if settings.voices == ("all",) else settings.voices
        if unknown := [name for name in chosen if name not in offered]:
            raise SettingError(
                f"TTS_ESPEAK_VOICES={quoted(','.join(chosen))} is not allowed: eSpeak NG has no {quoted(', '.join(unknown))}. "
                f"It takes `all`, or some of: {', '.join(offered)}."
            )
        self.voices = [offered[name] for name in chosen]
        self.version = library.version

    @classmethod
    def create(cls, environ: Mapping[str, str] | None = None) -> Espeak:
        """Create the provider from the environment.

        Args:
            environ: the environment variables; None: those of this process.

        Raises:
            SettingError: a language that eSpeak NG does not speak.
        """
        return cls(EspeakSettings.load(environ))

    def load(self) -> None:
        """Nothing to load: a voice is read in a millisecond when it first speaks."""

    def speak(self, text: str, speech: EngineRequest, voice: Voice) -> Iterator[bytes]:
        """All of ``text`` at once: if the lock were held while one stream's reader is waited for, nobody else would be heard."""
        yield _library().speak(text, speech, voice)


@cache
def _library() -> _EspeakLibrary:
    return _EspeakLibrary()


class _EspeakLibrary:
    """The shared library: not thread-safe, so everything that speaks holds its lock."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._lock = threading.Lock()
        self._audio = bytearray()
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate: int = self._library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data, _DONT_EXIT)
        if self.sample_rate <= 0:
            raise EngineError("eSpeak NG found no data beside its library. Reinstall the extra espeak.")
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.version: str = self._library.espeak_Info(None).decode()
        self._callback = _Callback(self._receive)  # kept: the library holds on to the pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def voices(self) -> Iterator[Voice]:
        list_voices = self._library.espeak_ListVoices
        list_voices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
        for pointer in list_voices(None):
            if not pointer:
                return
            record = pointer.contents
            code = record.languages[1:].decode()
            yield Voice(
                id=code,
                provider=Espeak.name,
                language=_language_tag(code),
                name=record.name.decode().strip(),
                model=f"espeak-{code}",
                sample_rate=self.sample_rate,
                gender=_GENDERS.get(record.gender, ""),
            )

    def speak(self, text: str, speech: EngineRequest, voice: Voice) -> bytes:
        encoded = text.encode() + b"\0"
        with self._lock:
            self._audio.clear()
            self._library.espeak_SetVoiceByName(voice.id.encode())
            self._library.espeak_SetParameter(_PARAMETER_RATE, round(_NORMAL_RATE * speech.rate), 0)
            self._library.espeak_SetParameter(_PARAMETER_VOLUME, round(_NORMAL_VOLUME * 10 ** (speech.volume_gain_db / 20)), 0)
            flags = _UTF8 | (_SSML if speech.ssml else 0)
            status = self._library.espeak_Synth(encoded, len(encoded), 0, _CHARACTER_POSITION, 0, flags, None, None)
            audio = bytes(self._audio)
        if status:
            raise EngineError(f"eSpeak NG failed with status {status}.")
        if len(audio) >= self._most:
            raise InvalidInputError("text", f"The text makes more than {LONGEST} seconds of audio. Shorten it, or its breaks.")
        return audio

    @property
    def _most(self) -> int:
        return LONGEST * self.sample_rate * 2

    def _receive(self, samples: int | None, count: int, _: int | None) -> int:
        if samples and count:
            self._audio += ctypes.string_at(samples, count * 2)
        return int(len(self._audio) >= self._most)  # 1: stop speaking


def _language_tag(code: str) -> str:
    """``code`` with the letter case that BCP 47 recommends: en-GB, zh-Latn."""
    language, *subtags = code.split("-")
    cased = {2: str.upper, 4: str.title}
    if "x" in subtags:  # private use: as it is
        private = subtags.index("x")
        subtags, rest = subtags[:private], subtags[private:]
    else:
        rest = []
    return "-".join([language, *(cased.get(len(subtag), str)(subtag) for subtag in subtags), *rest])
