"""What bytes are: every container and every WAV that a program may write, split anywhere."""

from __future__ import annotations

import base64
import io
import itertools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tts import PCM16, Encoded, PCMFloat32, Wav
from otel_tts.core import audio as measuring
from otel_tts.core.audio import AudioFacts, AudioMeter
from otel_tts.core.container import declared_format, recognise
from otel_tts.core.formats import PCM24, PCM32, ALaw, AudioFormat, MuLaw, NoAudio
from otel_tts.core.guard import guard
from otel_tts.core.wav import WavReader
from otel_tts.testing.capture import Capture

RATE = 16000
SPEECH = (np.sin(np.arange(2 * RATE) * 0.09) * 0.3).astype("f4")  # 2 s
PCM = (SPEECH * 32767).astype("<i2").tobytes()
SIZES = (None, 0, 100, 1001, 30_000, 2_000_000_000, 0x7FFF0000, 0xFFFFFFFF)


def written(subtype: str, container: str = "WAV", rate: int = RATE, channels: int = 1) -> bytes:
    """Two seconds of a tone as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, np.repeat(SPEECH[: 2 * rate, None], channels, axis=1), rate, subtype, format=container)
    return file.getvalue()


def wav(pcm: bytes, size: int | None = None, *, after: bytes = b"", rate: int = RATE) -> bytes:
    """A WAV of PCM16 whose header announces ``size`` bytes of audio (None: as many as there are)."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    announced = len(pcm) if size is None else size
    return b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data" + struct.pack("<I", announced) + pcm + after


def measured(data: bytes, format: AudioFormat, cuts: list[int] | None = None) -> AudioMeter:
    """The meter that got the data in pieces."""
    meter = AudioMeter(format)
    for start, end in itertools.pairwise([0, *sorted(cuts or []), len(data)]):
        meter.feed(data[start:end])
    return meter


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2)])
def test_every_kind_of_wav_is_exact(subtype: str, container: str, rate: int, channels: int) -> None:
    """8 to 64 bits, floats, G.711, stereo, and the headers of three kinds: duration exact, loudness within the coding's precision."""
    facts = measured(written(subtype, container, rate, channels), PCM16(24000)).facts()
    exact = measured(written("FLOAT", "WAV", rate, channels), Wav()).facts()
    assert (facts.duration_s, facts.sample_rate) == (len(SPEECH[: 2 * rate]) / rate, rate)
    assert facts.loudness == pytest.approx(exact.loudness, abs=0.1)


@pytest.mark.parametrize("sign", [b"RF64", b"BW64", b"RIFF"])
@pytest.mark.parametrize("step", [1, 10**6])
def test_wav_has_three_signs(sign: bytes, step: int) -> None:
    """The two for sizes beyond 32 bits have the same chunks."""
    data = sign + written("PCM_16", "RF64")[4:]
    assert measured(data[:3000], PCM16(8000), list(range(0, 200, step))).seconds == pytest.approx(3000 / 2 / RATE, abs=0.01)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(SIZES), st.sampled_from([b"", b"LIST\4\0\0\0INFO", b"id3 \3\0\0\0ID3\0"])),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(0, 4 * len(PCM)), max_size=8),
    st.sampled_from([PCM16(24000), Wav(), Encoded("mp3"), PCMFloat32(8000)]),
)
def test_what_came_is_counted(files: list[tuple[int | None, bytes]], cuts: list[int], asked: AudioFormat) -> None:
    """Whatever each header of several files announces, and whatever was asked for: all the audio, and the facts of one whole file."""
    # Behind audio whose header leaves its end open, only a list of texts can be told from samples.
    parts = [wav(PCM, size, after=after if size is None or after[:4] == b"LIST" else b"") for size, after in files]
    meter = measured(b"".join(parts), asked, cuts)
    whole = measured(PCM * len(files), PCM16(RATE)).facts()
    assert meter.seconds == whole.duration_s == 2.0 * len(files)
    assert meter.facts().loudness == pytest.approx(whole.loudness)
    assert meter.format == Wav()


@settings(max_examples=100)
@given(st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=6), st.sampled_from(SIZES))
def test_audio_of_any_bytes_is_exact_or_unknown(pcm: bytes, cuts: list[int], size: int | None) -> None:
    """Half a frame at the end is no audio; otherwise every frame counts, however the bytes are cut."""
    seconds = measured(wav(pcm, size), Wav(), cuts).seconds
    assert seconds in (None, len(pcm) // 2 / RATE, max(0, len(pcm) - 1) // 2 / RATE)


def test_several_rates_in_one_stream_are_unknown() -> None:
    """Nothing is said of them rather than something wrong; that audio came is known."""
    meter = measured(wav(PCM) + wav(PCM, rate=8000), Wav())
    assert (meter.seconds, meter.empty, meter.facts().duration_s, meter.format.name) == (None, False, None, "wav")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 10, 12, 14])
@pytest.mark.parametrize("announced", [None, 1, 3, 100])
def test_a_little_of_another_rate_is_unknown_too(size: int, announced: int | None) -> None:
    """Also the last few bytes, which wait for what follows them, have the rate of their own file."""
    meter = measured(wav(PCM) + wav(bytes(size), announced, rate=8000), Wav())
    unknown = size >= 2
    assert (meter.seconds, meter.facts().duration_s, meter.empty) == (*[None if unknown else 2.0] * 2, False)


@pytest.mark.parametrize("pad", [b"\0", b""])
def test_padding_is_no_audio(pad: bytes) -> None:
    """Behind an odd number of bytes one more may stand, before the next chunk or at the end."""
    audio = written("PCM_U8")[44:-1]
    file = written("PCM_U8")[:40] + struct.pack("<I", len(audio)) + audio + pad
    assert measured(file, Wav()).seconds == measured(file + b"LIST\4\0\0\0INFO", Wav()).seconds == len(audio) / RATE


CONTAINERS = {
    "mp3": written("MPEG_LAYER_III", "MP3"),
    "flac": written("PCM_16", "FLAC"),
    "opus": written("OPUS", "OGG"),
    "vorbis": written("VORBIS", "OGG"),
    "aac": b"".join(b"\xff\xf1\x50\x80\x04\x1f\xfc" + bytes([n] * 25) for n in range(40)),
    "webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01webm" + bytes(500),
    "mp4": b"\0\0\0\x20ftypM4A \0\0\2\0" + bytes(500),
    "riff": b"RIFX\0\0\0\0WAVEfmt " + bytes(500),
    "riff, AIFF": written("PCM_16", "AIFF"),
    "flac, in Ogg": b"OggS\0\2" + bytes(22) + b"\1\x33\x7fFLAC\1\0" + bytes(500),
    "mp3, tagged": b"ID3\4\0\0\0\0\7\x76" + bytes(1014) + written("MPEG_LAYER_III", "MP3"),
    **{
        f"mp3, {rate} Hz": written("MPEG_LAYER_III", "MP3", rate)
        for rate in (8000, 11025, 12000, 22050, 24000, 32000, 44100, 48000)
    },
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("asked", [PCM16(24000), MuLaw(), PCMFloat32(24000), Wav(), Encoded("mp3")])
@pytest.mark.parametrize("step", [1, 700, 10**6])
def test_compressed_audio_is_recognised(name: str, asked: AudioFormat, step: int) -> None:
    """Without a sign of its own at the start too, as an MPEG stream has none: never measured as if it were samples."""
    data, name = CONTAINERS[name], name.split(",", maxsplit=1)[0]
    meter = measured(data, asked, list(range(0, min(len(data), 4000), step)))
    assert recognise(data) == name
    assert (meter.format.name, meter.seconds, meter.empty) == (name if Encoded(name).name == name else "_OTHER", None, False)


OTHERS = {
    **{name: written("PCM_16", name.upper()) for name in ("au", "caf", "w64", "nist", "voc")},
    "amr": b"#!AMR-WB\n" + bytes([4]) * 500,
    "silk": b"#!SILK_V3" + bytes(500),
    "silk, Tencent's": b"\x02#!SILK_V3" + bytes(500),
    "wavpack": b"wvpk\x20\x01\0\0" + bytes(500),
    "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(500),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("asked", [PCM16(24000), Wav(), Encoded("mp3")])
@pytest.mark.parametrize("step", [1, 3, 10**6])
def test_other_containers_are_no_samples(name: str, asked: AudioFormat, step: int) -> None:
    """Nothing is measured of them: as samples they would be noise, of a length that is wrong."""
    data = OTHERS[name]
    meter = measured(data, asked, list(range(0, 50, step)))
    assert recognise(data) == name.split(",", maxsplit=1)[0]
    assert (meter.format.name, meter.seconds, meter.empty) == ("_OTHER", None, False)


@settings(max_examples=300)
@given(
    st.binary(min_size=16, max_size=400),
    st.sampled_from([b"", b"\xff\xfb\x90\xc4", b"\xff\xf1\x50\x80\x04\x1f\xfc", b'{"', b"RIFF"]),
)
def test_samples_are_not_taken_for_a_container(data: bytes, start: bytes) -> None:
    """Samples that begin like a frame, an object or a file and do not go on like one are samples."""
    data = start + b"\0\xff\1\xfe\0\0\7\0" + data
    assert (recognise(data, end=True), measured(data, PCM16(8000)).seconds) == ("", len(data) // 2 / 8000)


WORDS = [
    b'{"error": {"message": "no such voice"}}',
    b'  \n[{"detail": [1, 2]}]',
    b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    '\ufeff{"message": "Stimme nicht verfügbar, bitte später erneut versuchen"}'.encode(),
    b"{}",
]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("asked", [PCM16(24000), Wav(), Encoded("mp3"), MuLaw()])
def test_words_are_no_audio(capture_tts: Capture, words: bytes, asked: AudioFormat) -> None:
    """By hand too: success with JSON or markup is an error, whole or as a stream."""
    tts = capture_tts.telemetry()
    list(tts.synthesis("Hi.", stream=True).stream([words[:5], words[5:]], "acme", audio=asked))
    with tts.synthesis("Hi.") as s, s.attempt("acme") as attempt:
        attempt.audio(words, asked)
    assert [(s.outcome, s["error.type"], s["tts.audio.duration"]) for s in capture_tts.syntheses()] == [
        ("error", "server_error", None)
    ] * 2


@pytest.mark.parametrize(
    ("content_type", "asked", "expected"),
    [
        ("audio/pcm;rate=16000", PCM16(24000), PCM16(16000)),
        ("audio/pcm; rate=16000; channels=2", Encoded("pcm16"), PCM16(16000, 2)),
        ("audio/pcm", Encoded("pcm16"), Encoded("pcm16")),
        ("audio/pcm; encoding=f32le; rate=48000", PCM16(24000), PCMFloat32(48000)),
        ("audio/pcm; bits=24; rate=48000", PCM16(24000), PCM24(48000)),
        ("audio/pcm; bits=12; rate=48000", PCM16(24000), Encoded("_OTHER")),
        ("audio/L16; Rate=8000", Encoded("mp3"), PCM16(8000)),
        ('Audio/PCM; RATE="8000"', Encoded("mp3"), PCM16(8000)),
        *((f"audio/pcm; {name}=16000", PCM16(24000), PCM16(16000)) for name in ("samplerate", "sample-rate", "sample_rate")),
        *(
            (f"audio/pcm; {name}={coding}; rate=48000", PCM16(24000), kind(48000))
            for name in ("encoding", "codec", "bits", "bitdepth", "bit-depth")
            for coding, kind in (("float", PCMFloat32), ("32", PCM32), ("s24le", PCM24), ("pcm", PCM16))
        ),
        ("audio/PCMU", Encoded("mp3"), MuLaw(8000)),
        ("audio/x-alaw", Encoded("mp3"), ALaw(8000)),
        *(
            (words, PCM16(24000), NoAudio())
            for words in ("application/json", "application/xml", "application/xhtml+xml", "text/plain")
        ),
        ("audio/ogg; codecs=vorbis", PCM16(24000), Encoded("vorbis")),
        ("audio/x-mulaw", PCM16(24000), MuLaw(24000)),
        ("audio/PCMA;rate=8000", Encoded("mp3"), ALaw(8000)),
        ("audio/pcm;rate=zero", PCM16(24000), Encoded("pcm16")),
        ("audio/pcm;rate=0", PCM16(24000), Encoded("pcm16")),
        ("audio/basic", Encoded("mp3"), MuLaw(8000)),
        ("audio/x-wav", PCM16(24000), Wav()),
        ("audio/mpeg", PCM16(24000), Encoded("mp3")),
        ("audio/ogg; codecs=opus", PCM16(24000), Encoded("opus")),
        ("audio/ogg", Encoded("vorbis", 16000), Encoded("vorbis", 16000)),
        ("audio/strange", PCM16(24000), Encoded("_OTHER")),
        ("application/octet-stream", PCM16(24000), PCM16(24000)),
        ("", PCM16(24000), PCM16(24000)),
        (";;;=", PCM16(24000), PCM16(24000)),
        ("application/problem+json; charset=utf-8", PCM16(24000), NoAudio()),
        ("text/event-stream", Encoded("sse"), Encoded("sse")),
        ("text/html", Encoded("mp3"), NoAudio()),
    ],
)
def test_content_types(content_type: str, asked: AudioFormat, expected: AudioFormat) -> None:
    """All their parameters count; what they leave open is as it was asked for."""
    assert declared_format(content_type, asked) == expected


class Tensor:
    """What PyTorch's tensors have in common with it: not a buffer, and an array only once it is off the graph and the device."""

    def __init__(self, samples: Any, dtype: str = "torch.float32", off: tuple[str, ...] = ()) -> None:
        self._samples, self.dtype, self._off = np.asarray(samples), dtype, off

    def __len__(self) -> int:
        return len(self._samples)

    def detach(self) -> Tensor:
        return Tensor(self._samples, self.dtype, (*self._off, "graph"))

    def cpu(self) -> Tensor:
        return Tensor(self._samples, self.dtype, (*self._off, "device"))

    def float(self) -> Tensor:
        return Tensor(self._samples, off=self._off)

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        if {"graph", "device"} - set(self._off):
            raise RuntimeError("Can't convert a tensor of a device. Use Tensor.cpu() first.")
        if "bfloat16" in self.dtype:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._samples


FLOATS = SPEECH[:1600]
INTEGERS = (FLOATS * 32767).astype("<i2")
STEREO = np.stack([INTEGERS, INTEGERS], axis=1)


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (Tensor(FLOATS), PCMFloat32(RATE)),
        (Tensor(FLOATS[None, :]), PCMFloat32(RATE)),
        (Tensor(FLOATS[None, None, :]), PCMFloat32(RATE)),  # batch, channels, time
        (Tensor(FLOATS, "torch.bfloat16"), PCMFloat32(RATE)),
        (Tensor(FLOATS.astype("f2")), PCMFloat32(RATE)),
        (Tensor(INTEGERS), PCM16(RATE)),
        (Tensor(STEREO), PCM16(RATE, 2)),
        (Tensor(STEREO.T), PCM16(RATE, 2)),
        (Tensor(STEREO.T[None]), PCM16(RATE, 2)),
        (INTEGERS.tolist(), PCM16(RATE)),
        (STEREO.tolist(), PCM16(RATE, 2)),
        (FLOATS.tolist(), PCMFloat32(RATE)),
        (tuple(FLOATS), PCMFloat32(RATE)),
        (INTEGERS.astype(">i2"), PCM16(RATE)),
        (memoryview(INTEGERS), PCM16(RATE)),
        (INTEGERS[::-1][::-1], PCM16(RATE)),
        ([INTEGERS[:800].tobytes(), INTEGERS[800:].tobytes()], PCM16(RATE)),
        (base64.b64encode(INTEGERS.tobytes()).decode(), PCM16(RATE)),
        (base64.b64encode(wav(INTEGERS.tobytes())).decode(), PCM16(24000)),
    ],
)
def test_what_engines_yield_is_read(data: Any, format: AudioFormat) -> None:
    """Tensors, lists, arrays of any layout and base64: a tenth of a second, as loud as it is."""
    meter = AudioMeter(format)
    meter.feed(data)
    facts = meter.facts()
    assert (facts.duration_s, meter.pieces) == (0.1, 1)
    assert facts.loudness == pytest.approx(measured(INTEGERS.tobytes(), PCM16(RATE)).facts().loudness, abs=0.05)


@pytest.fixture
def lenient(capture_tts: Capture) -> Iterator[None]:
    """Faults of ours are reported and not raised, as they are outside of tests."""
    strict, guard.strict = guard.strict, False
    yield
    guard.strict = strict


class Broken:
    """Fails in whatever way it is looked at."""

    def __len__(self) -> int:
        raise RuntimeError

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        raise MemoryError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise OSError


@pytest.mark.parametrize(
    "chunk",
    [Broken(), object(), 5, {"audio": b"\0" * 20}, "words", "goodword", "!" + base64.b64encode(bytes(60)).decode(), [1, "2"],
     [70000], [-32769], [0.5], [[1], [2, 3]], np.zeros((2, 2, 2)), np.array(["a"]), Tensor([1j]), np.zeros(4, "f8"), STEREO],
)  # fmt: skip
@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("position", [0, 1])
def test_what_cannot_be_read_is_unknown(capture_tts: Capture, chunk: Any, position: int) -> None:
    """Never 0 seconds, never half of them; the first byte has its time, and the caller every chunk as it was."""
    chunks = [INTEGERS.tobytes(), INTEGERS.tobytes()]
    chunks[position] = chunk
    given = list(capture_tts.telemetry().synthesis("Hi.", stream=True).stream(chunks, "acme", audio=PCM16(RATE)))
    assert all(one is other for one, other in zip(given, chunks, strict=True))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.time_to_first_byte"] >= 0
    assert synthesis["tts.stream.chunk.count"] == 2
    assert [synthesis[f"tts.audio.{name}"] for name in ("duration", "delivered_duration", "loudness")] == [None] * 3
    assert synthesis.attempts[0]["tts.audio.duration"] is None


@pytest.mark.parametrize("samples", [[20_000, -3], [2], np.array([1, 0])])
@pytest.mark.usefixtures("lenient")
def test_integers_are_no_floats(samples: Any) -> None:
    """Numbers beyond 1 where floats were declared: they would be clipped, and loud."""
    meter = AudioMeter(PCMFloat32(RATE))
    assert (meter.feed(samples), meter.seconds) == (0.0, None)


@pytest.mark.parametrize("empty", [b"", bytearray(), [], (), np.zeros(0), np.zeros((0, 2)), Tensor([]), memoryview(b""), None])
@pytest.mark.parametrize("format", [PCM16(RATE), PCMFloat32(RATE), Wav(), Encoded("mp3")])
def test_empty_chunks_are_nothing(empty: Any, format: AudioFormat) -> None:
    """Whatever they are made of and wherever they come: no piece, no first byte, and what is known of the rest stays known."""
    audio = {"wav": wav(PCM), "mp3": CONTAINERS["mp3"], "pcm_f32": SPEECH.tobytes()}.get(format.name, PCM)
    meter = AudioMeter(format)
    meter.feed(empty)
    assert (meter.pieces, meter.empty) == (0, True)
    for piece in (audio[:1001], audio[1001:]):
        meter.feed(piece)
        meter.feed(empty)
    assert (meter.pieces, meter.seconds) == (2, None if format.name == "mp3" else 2.0)


@pytest.mark.usefixtures("lenient")
def test_a_payload_that_fails_leaves_unknown(capture_tts: Capture) -> None:
    """It came, whatever it is: with its time, and without a length."""
    stream = capture_tts.telemetry().synthesis("Hi.", stream=True)
    chunks: list[Any] = [{"audio": PCM}, {"sound": PCM}]
    assert list(stream.stream(chunks, "acme", audio=PCM16(RATE), payload=lambda chunk: chunk["audio"])) == chunks
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.stream.chunk.count"], synthesis["tts.audio.duration"]) == (2, None)


MEASURING = [
    (measuring, "levels_of"), (measuring, "recognise"), (measuring, "format_of"), (measuring.Tally, "__init__"), (measuring.Tally, "add"),
    (measuring.Tally, "finish"), (WavReader, "__init__"), (WavReader, "feed"), (WavReader, "rest"),
]  # fmt: skip


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize(("owner", "name"), MEASURING, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("error", [ValueError, MemoryError])
@pytest.mark.parametrize("whole", [False, True])
def test_a_fault_in_measuring_leaves_unknown(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: type[Exception], whole: bool
) -> None:
    """Whatever of it raises: the request and its attempt are counted, with the time of the first byte, and nothing is 0."""

    def fault(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(owner, name, fault)
    chunks = [wav(PCM)[:5000], wav(PCM)[5000:]]
    with capture_tts.telemetry().synthesis("Hi.", stream=not whole) as s, s.attempt("acme") as attempt:
        if whole:
            assert attempt.audio(wav(PCM), Wav()) == wav(PCM)
        else:
            assert list(attempt.stream(chunks, Wav())) == chunks
    monkeypatch.undo()
    synthesis = capture_tts.synthesis(outcome="ok")
    (tried,) = synthesis.attempts
    assert tried.outcome == "ok"
    assert [capture_tts.total(f"tts.{name}") for name in ("attempt.duration", "synthesis.duration")] == [1, 1]
    assert whole or (synthesis["tts.time_to_first_byte"] >= 0 and synthesis["tts.stream.chunk.count"] == 2)
    for view in (synthesis, tried):
        assert [view[f"tts.audio.{name}"] for name in ("duration", "loudness", "silence_ratio")] == [None] * 3


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize(
    ("owner", "name"), [(measuring, "levels_of"), (measuring.Tally, "add"), (measuring.Tally, "_listen"), (WavReader, "rest")]
)
@pytest.mark.parametrize("number", range(4))
def test_a_fault_that_passes_leaves_exact_or_unknown(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int) -> None:
    """One call in the middle fails, and later ones do not: no sample counts twice or is left out."""
    audio = wav(bytes(len(PCM)) + PCM * 9)
    exact, works, left = measured(audio, Wav()).facts(), getattr(owner, name), [number]

    def fails_once(*arguments: Any) -> Any:
        left[0] -= 1
        result = works(*arguments)
        if left[0] == -1:
            raise ValueError
        return result

    monkeypatch.setattr(owner, name, fails_once)
    meter = AudioMeter(Wav())
    for start in range(0, len(audio), 10_000):
        meter.feed(audio[start : start + 10_000])
        meter.facts()
    assert left[0] < 0
    assert meter.facts() in (exact, AudioFacts())
    assert meter.seconds in (exact.duration_s, None)
