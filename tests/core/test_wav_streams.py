"""Streams of WAV files as servers write them, in pieces of any size, against a model that knows what was written."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from otel_tts import Wav
from otel_tts.core.audio import AudioMeter
from otel_tts.core.container import recognise
from otel_tts.core.formats import UnreadableAudioError
from otel_tts.core.wav import OPEN_END, WavReader

RATE = 8000
UNKNOWN = (0, OPEN_END, 2_000_000_000, 0x7FFF0000, 0xFFFFFFFF)  # what servers announce that do not know
INFO = b"INFOISFT\6\0\0\0Lavf60\0"
LABELS = b"adtllabl\6\0\0\0\1\0\0\0a\0"


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk, with the padding of one of an odd size."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


LISTS = st.sampled_from([b"", chunk(b"LIST", INFO), chunk(b"LIST", LABELS)])
CHUNKS = st.builds(chunk, st.sampled_from([b"fact", b"id3 ", b"bext", b"JUNK", b"cue ", b"LIST"]), st.binary(max_size=9))
NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=4, max_size=4).map(str.encode)
OTHERS = st.builds(chunk, NAMES, st.binary(max_size=9))
# Bytes that look like the beginning of a file or a list, so that a reader has to wait for more.
AUDIO = st.lists(st.sampled_from([b"R", b"RI", b"RIFF", b"LIS", b"WAV", b"WAVE", b"\0", b"\x80\7", b"INF"]), max_size=12).map(
    b"".join
)


@dataclass(frozen=True)
class File:
    """A file, and what of it is audio."""

    audio: bytes
    announced: int | None = None
    before: bytes = b""
    behind: bytes = b""
    pad: bool = False
    total: bool = False  # whether the size of the whole file is stated

    def written(self, bits: int, channels: int) -> bytes:
        """The bytes of the file."""
        frame = bits // 8 * channels
        fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, channels, RATE, RATE * frame, frame, bits))
        size = len(self.audio) if self.announced is None else self.announced
        padding = bytes(self.pad and size % 2)
        file = b"WAVE" + fmt + self.before + b"data" + struct.pack("<I", size) + self.audio + padding + self.behind
        return b"RIFF" + struct.pack("<I", len(file) if self.total else 0xFFFFFFFF) + file


@st.composite
def files(draw: st.DrawFn, frame: int) -> File:
    """A file whose end a reader can know: behind audio of an unknown length, only a list can be told from samples."""
    audio = draw(AUDIO)
    audio = audio[: len(audio) - len(audio) % frame]
    before = draw(st.just(b"") | CHUNKS)
    announced = draw(st.none() | st.sampled_from(UNKNOWN) | st.integers(1, len(audio) + 40))
    if announced is not None and announced % 2 and not announced % frame:
        assume(len(audio) != announced + 1)  # the last byte may be padding
    if announced in (None, len(audio)):
        total = draw(st.booleans())
        behind = b"".join(draw(st.lists(OTHERS if total else CHUNKS, max_size=2)))
        return File(audio, None, before, behind, pad=draw(st.booleans()), total=total)
    return File(audio, announced, before, draw(LISTS))


def pieces_of(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, again and again."""
    pieces, at, number = [], 0, 0
    while at < len(data):
        pieces.append(data[at : at + sizes[number % len(sizes)]])
        at, number = at + len(pieces[-1]), number + 1
    return pieces


@settings(max_examples=150, deadline=None)
@given(
    st.data(), st.sampled_from([(8, 1), (16, 1), (8, 3), (24, 1), (16, 2)]), st.lists(st.integers(1, 30), min_size=1, max_size=4)
)
def test_all_audio_and_nothing_else(data: st.DataObject, shape: tuple[int, int], sizes: list[int]) -> None:
    """However the bytes are split: the audio of every file, in order, and nothing of what stands around it."""
    bits, channels = shape
    written = data.draw(st.lists(files(bits // 8 * channels), min_size=1, max_size=4))
    assume(not any(re.search(rb"RIFF.{4}[ -~]{4}", file.audio + b"RIFF", re.DOTALL) for file in written))  # which would be a file
    reader, meter, audio = WavReader(), AudioMeter(Wav()), []
    stream = b"".join(file.written(bits, channels) for file in written)
    for piece in pieces_of(stream, [max(sizes), len(stream)]):
        meter.feed(piece)
    for piece in pieces_of(stream, sizes):
        audio += reader.feed(piece)
    audio += reader.rest()
    expected = b"".join(file.audio for file in written)
    assert b"".join(samples for _, samples in audio) == expected
    assert reader.whole
    last = written[-1]
    announced = last.announced if last.announced is not None and last.announced < OPEN_END and not last.behind else 0
    assert reader.missing == max(0, announced - len(last.audio))
    seconds = len(expected) // (bits // 8 * channels) / RATE
    assert (meter.seconds, meter.facts().duration_s) == (seconds, seconds)


STRANGE = [
    b'{"error": {"message": "the voice went away", "code": 500, "param": null}}',
    b'{"a":1}',
    b"<html><body>Bad gateway: the upstream server did not answer in time, sorry</body></html>",
    b"fLaC" + bytes(60),
    b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81" + bytes(60),
    b"OggS\0\2" + bytes(22) + b"\1\x13OpusHead" + bytes(100),
    b"OggS\0\2" + bytes(22),
    b"\xff\xf1\x50\x80\x04\x1f\xfc" + bytes(25) + b"\xff\xf1\x50\x80\x04\x1f\xfc" + bytes(25),
    b"RIFX\0\0\0\0WAVEfmt " + bytes(40),
]


@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: f"{strange[:6]!r}, {len(strange)}")
@given(st.integers(1, 40), st.booleans(), st.booleans(), st.integers(390, 400))
@example(1, False, False, 400)
@example(13, True, True, 400)
@example(1, False, False, 399)
@example(30, False, True, 399)
@settings(max_examples=15, deadline=None)
def test_what_is_no_audio_behind_audio_is_never_audio(strange: bytes, size: int, lists: bool, total: bool, length: int) -> None:
    """However it is split: it is an error, or the stream is not whole; none of its bytes is handed on."""
    file = File(bytes(length), behind=chunk(b"LIST", INFO) if lists else b"", pad=True, total=total).written(8, 1)
    reader, audio = WavReader(), []
    try:
        for piece in pieces_of(file + strange, [size]):
            audio += reader.feed(piece)
        audio += reader.rest()
        refused = not reader.whole
    except UnreadableAudioError:
        refused = True
    samples = b"".join(piece for _, piece in audio)
    assert len(samples) <= length
    assert not any(samples)
    assert refused or (lists and len(strange) < 8)  # too short for a chunk: not even its name would say what it is


def test_where_a_stream_may_end() -> None:
    """Behind any complete frame of any file: nowhere within a header or a frame."""
    file = File(b"\1\2\3\4" * 4, before=chunk(b"fact", b"abcde")).written(16, 2)
    header = len(file) - 16
    # The first bytes of another file may as well be samples.
    for cut in (*range(1, len(file) + 1), *range(len(file) + 12, 2 * len(file) + 1)):
        reader = WavReader()
        reader.feed((file * 2)[:cut])
        into = (cut - 1) % len(file) + 1
        assert reader.whole == (into >= header and (into - header) % 4 == 0), cut


def test_a_file_that_ends_within_a_frame() -> None:
    """Another file follows: what is lost in between is nobody's to know, so nothing is said of the whole."""
    short = File(b"\1\2\3", announced=4).written(16, 1)
    with pytest.raises(UnreadableAudioError, match="within a sample"):
        WavReader().feed(short + File(bytes(8)).written(16, 1))


def test_each_file_states_its_own_format() -> None:
    """One without a format is not read with the one before it."""
    file = File(bytes(8)).written(16, 1)
    with pytest.raises(UnreadableAudioError, match="no format"):
        WavReader().feed(file + file[:12] + file[36:])


def test_lists_of_many_files_are_no_endless_header() -> None:
    """The bytes around the audio are counted for each file by itself."""
    file = File(bytes(8), before=chunk(b"LIST", bytes(5000)), behind=chunk(b"LIST", bytes(5000))).written(16, 1)
    assert sum(len(samples) for _, samples in WavReader().feed(file * 20)) == 20 * 8


def test_sizes_beyond_32_bits() -> None:
    """A file that may be large states its sizes in a chunk of their own; behind its audio, too, a chunk is no audio."""
    file = File(bytes(8), 0xFFFFFFFF, chunk(b"ds64", struct.pack("<QQQI", 0, 8, 4, 0)), chunk(b"bext", bytes(50))).written(16, 1)
    for head in (b"RF64", b"BW64"):
        reader = WavReader()
        assert [samples for _, samples in reader.feed(head + file[4:])] == [bytes(8)]
        assert reader.whole


@pytest.mark.parametrize("size", range(16))
def test_a_format_that_is_too_short(size: int) -> None:
    """Half a format says nothing of the samples."""
    file = b"RIFF\xff\xff\xff\xffWAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)[:size])
    with pytest.raises(UnreadableAudioError, match="no format"):
        WavReader().feed(file + chunk(b"data", bytes(8)))


PLAIN = File(b"abcdefgh")
CASES = {
    "padding before the next file": (File(b"abc", pad=True), 8, b"abc"),
    "the rest of a frame, where padding might be": (File(b"abcd", announced=3), 16, b"abcd"),
    "silence that the file has room for": (File(b"ab" + bytes(20), announced=2, total=True), 16, b"ab" + bytes(20)),
    "a chunk without the padding before it": (File(b"abc", behind=b"mine\4\0\0\0mine", total=True), 8, b"abc"),
    "padding before a chunk": (File(b"abc", behind=chunk(b"fact", b"ab"), pad=True), 8, b"abc"),
    "words that the file has no room for": (File(b"abcd", behind=b"mine\50\0\0\0" + b"mine" * 3, total=True), 8, None),
    "words after a chunk before the audio": (
        File(b"abcd", before=chunk(b"bext", bytes(60)), behind=b"mine\50\0\0\0" + b"mine" * 3, total=True), 8, None
    ),
    "words after other audio": (File(bytes(60), behind=b"mine\50\0\0\0" + b"mine" * 3, total=True), 8, None),
}  # fmt: skip


@pytest.mark.parametrize(("file", "bits", "audio"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_may_stand_behind_the_announced_end(file: File, bits: int, audio: bytes | None, size: int) -> None:
    """A byte of padding only where one may be, a chunk only where it fits; everything else is audio."""
    reader, read = WavReader(), []
    for piece in pieces_of(file.written(bits, 1) + PLAIN.written(bits, 1), [size]):
        read += reader.feed(piece)
    read += reader.rest()
    expected = file.audio + file.behind if audio is None else audio
    assert b"".join(samples for _, samples in read) == expected + PLAIN.audio


def test_sizes_of_their_own_are_those_of_one_file() -> None:
    """They count where the size of the audio refers to them, and not in the next file."""
    long = chunk(b"ds64", struct.pack("<QQQI", 0, 80, 4, 0))
    for files, missing in (
        ([File(bytes(8), 0xFFFFFFFF, long)], 72),
        ([File(bytes(8), 10, long)], 2),
        ([File(bytes(8), 0xFFFFFFFF, long), File(bytes(8), 0xFFFFFFFF)], 0),
    ):
        reader = WavReader()
        reader.feed(b"".join(file.written(16, 1) for file in files))
        assert reader.missing == missing


def test_samples_that_begin_like_a_file_are_samples() -> None:
    """What kind of file it is would stand in letters."""
    for kind, name in ((b"\xff\xfe\xff\xfe", ""), (b"\0\0\0\0", ""), (b"AVI ", "riff"), (b"WAVE", "wav")):
        assert recognise(b"RIFF\0\0\0\0" + kind + bytes(60), end=True) == name
