"""Audio as arrays and buffers: numbers of any type, and memory that stays the engine's."""

from __future__ import annotations

import ctypes
import re
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from otel_tts.core.audio import PCM16, AudioFacts, AudioFormat, AudioMeter, MuLaw, PCMFloat32, Wav
from otel_tts.core.formats import Samples
from otel_tts.core.guard import MisuseError, guard
from otel_tts.core.payload import audio_bytes
from tests.core.signals import measure, pcm16, sine


@pytest.mark.parametrize(
    "array",
    [
        sine(1, 0.5, 8000),
        sine(1, 0.5, 8000).astype(np.float32),
        sine(1, 0.5, 8000).astype(">f4"),
        sine(1, 0.5, 8000).astype("<f4").reshape(-1, 1),
        sine(1, 0.5, 8000).astype("<f4").view(np.uint8),
        np.repeat(sine(1, 0.5, 8000), 2)[::2],
    ],
    ids=["float64", "float32", "big-endian", "frames by channels", "bytes", "not contiguous"],
)
def test_arrays_of_floats(array: npt.NDArray[Any]) -> None:
    """Any float array means the same samples."""
    assert measure(PCMFloat32(8000), array) == measure(PCMFloat32(8000), sine(1, 0.5, 8000).astype("<f4").tobytes())


def test_floats_beyond_32_bits() -> None:
    """A float64 that 32 bits cannot hold cannot be read, and is silent without a warning."""
    assert measure(PCMFloat32(8000), np.full(8000, 1e300)) == measure(PCMFloat32(8000), bytes(32000))


@pytest.mark.parametrize(
    ("format", "array"),
    [
        (PCM16(8000), np.zeros(80)),
        (PCM16(8000), np.zeros(80, np.int32)),
        (PCMFloat32(8000), np.zeros(80, np.int16)),
        (Wav(), np.zeros(80, np.int16)),
        (MuLaw(), np.zeros(80, np.int16)),
    ],
)
def test_arrays_that_are_not_what_was_declared(format: AudioFormat, array: npt.NDArray[Any]) -> None:
    """An array of another type is never reinterpreted: nothing is known any more, but it isn't taken for no audio."""
    meter = AudioMeter(format)
    assert (meter.feed(array), meter.seconds, meter.empty, meter.onset_s()) == (0.0, None, False, None)
    assert meter.facts() == AudioFacts()
    declared = "container" if isinstance(format, Wav) else str(format)
    with pytest.raises(MisuseError, match=re.escape(declared)) as raised:  # which the log says once
        audio_bytes(array, format if isinstance(format, Samples) else None)
    assert isinstance(format, Wav) or str(array.dtype) in str(raised.value)


RECORDS = [[("a", "i2")], [("a", "u1")], [("a", "?")], [("left", "i2"), ("right", "i2")]]
NO_AUDIO: list[Any] = ["?", "M8[s]", "m8[s]", "O", "c8", "U1", "S2", "V2", "u2", "u4", "u8", ">u2", "i8", *RECORDS]


@pytest.mark.parametrize(
    ("dtype", "form"),
    [(d, f) for d in NO_AUDIO for f in ("array", "view", "views", "arrays") if np.dtype(d).kind not in "mM" or "view" not in f],
)
@pytest.mark.parametrize("declared", [PCM16(8000), MuLaw(8000), PCMFloat32(8000), Wav()], ids=lambda declared: declared.name)
def test_arrays_that_are_no_audio(dtype: Any, declared: AudioFormat, form: str, caplog: pytest.LogCaptureFixture) -> None:
    """Truth values, dates, objects, records and the like are never taken for bytes: nothing is known, and one warning says so."""
    array = np.zeros(80, dtype)
    audio = {
        "array": lambda: array, "view": lambda: memoryview(array), "views": lambda: [memoryview(array)], "arrays": lambda: [array, array],
    }[form]()  # fmt: skip
    guard._warned.clear()
    meter = AudioMeter(declared)
    for _ in range(3):
        meter.feed(audio)
    assert (meter.seconds, meter.empty, meter.facts()) == (None, False, AudioFacts())
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("dtype", ["u1", "i1", "S1", "V1"])
def test_arrays_of_bytes(dtype: str) -> None:
    """Numbers and letters of one byte are the bytes of the declared samples, in arrays, buffers and lists of them alike."""
    tone = pcm16(sine(0.1, 0.5, 8000))
    letters = (ctypes.c_char * len(tone)).from_buffer_copy(tone)
    for audio in (np.frombuffer(tone, dtype), letters, memoryview(letters), [memoryview(tone), memoryview(b"").cast("b")]):
        assert measure(PCM16(8000), audio) == measure(PCM16(8000), tone)


def test_owners_may_write_to_their_buffers_again() -> None:
    """What was fed stays what it was when its buffer is used again."""
    tone = pcm16(sine(0.1, 0.5, 8000))
    buffer, array, meter = bytearray(tone), np.frombuffer(tone, "<i2").copy(), AudioMeter(PCM16(8000))
    for piece in (buffer, memoryview(buffer), array):
        meter.feed(piece)
    buffer[:] = bytes(len(tone))
    array[:] = 0
    assert meter.facts() == measure(PCM16(8000), tone * 3)


def test_numbers_of_an_engine_become_plain() -> None:
    """The integers of numpy, as engines have them in their configuration, come out as a span attribute can take them."""
    facts = measure(PCM16(np.int64(8000), np.int32(1)), bytes(16))  # type: ignore[arg-type]  # as engines do
    assert {type(value) for value in asdict(facts).values()} == {float, int, type(None)}


@pytest.mark.parametrize("pair", [(24_000, np.zeros(80, np.int16)), (np.zeros(80, np.int16), 24_000), [1, "a"], [[1, 2], [3]]])
def test_a_rate_beside_an_array_is_said(pair: Any) -> None:
    """What scipy and soundfile return is no audio by itself: the message says what came, and what to give."""
    with pytest.raises(MisuseError, match=r"is no audio: give|The samples are"):
        audio_bytes(pair, PCM16(24_000))
