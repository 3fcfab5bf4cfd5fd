"""The table of known protos, and what a user's file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_tts import PCM16, ALaw, Encoded, MuLaw, PCMFloat32, Settings, Wav
from otel_tts.instrumentation import protos
from otel_tts.instrumentation.messages import Fields
from otel_tts.instrumentation.protos import Method
from otel_tts.settings import SettingError
from tests.instrumentation.proto_servers import message

NOTHING = Fields({}, "text")
NEEDED = '["a.B/C"]\nrequest.text = "text"\nresponse.audio = "audio"\n'


def load(path: Path) -> protos.Protos:
    """The table with a user's file."""
    return protos.load(Settings.load({"OTEL_TTS_GRPC_MAPPING": str(path)}))


@pytest.mark.parametrize(
    "method",
    [
        "google.cloud.texttospeech.v1.TextToSpeech/SynthesizeSpeech",
        "nvidia.riva.tts.RivaSpeechSynthesis/SynthesizeOnline",
        "speechkit.tts.v3.Synthesizer/UtteranceSynthesis",
        "tts.TTSService/GenerateSpeech",
        "yap.tts.v1.TextToSpeech/SynthesizeStream",
    ],
)
def test_well_known_protos_are_known(method: str) -> None:
    """Without any file, the protos that many speak are known; methods of theirs that do not speak are not."""
    methods = protos.load(Settings.load({}))
    assert method in methods
    assert f"{method.partition('/')[0]}/ListVoices" not in methods


def test_a_file_adds_methods_and_replaces_known_ones(tmp_path: Path) -> None:
    """What the user says of a method counts; everything else that is known stays."""
    path = tmp_path / "mapping.toml"
    path.write_text(NEEDED + NEEDED.replace("a.B/C", "tts.TTSService/GenerateSpeech"), "utf-8")
    methods = load(path)
    assert all(method in methods for method in ("a.B/C", "tts.TTSService/GenerateSpeech", "tts.TTSService/GeneratePhonemeAudio"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The message names the file and says what is wrong with it."""
    with pytest.raises(SettingError, match=r"none\.toml' cannot be read: No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text = ", "is no TOML: "),
        ("text = 1", "'text': the name of a table is a method, such as \"acme.v1.Speech/Say\"."),
        ('["a.B"]', "'a.B': the name of a table is a method, such as \"acme.v1.Speech/Say\"."),
        ('"a.B/C" = 1', "'a.B/C': it takes a table with request, response, encodings, format, sample_rate."),
        ('["a.B/C"]', "request.text of 'a.B/C': it is missing, and without it there is nothing to see."),
        ('["a.B/C"]\nrequest.text = "t"', "response.audio of 'a.B/C': it is missing, and without it there is nothing to see."),
        (NEEDED + "request = 1", "is no TOML: "),
        (
            NEEDED + 'speed = "x"',
            "speed of 'a.B/C': there is no such key: allowed are request, response, encodings, format, sample_rate.",
        ),
        (
            NEEDED + 'request.txt = "x"',
            "request.txt of 'a.B/C': there is no such key: allowed are text, voice, language, encoding, sample_rate.",
        ),
        (
            NEEDED + 'response.text = "x"',
            "response.text of 'a.B/C': there is no such key: allowed are audio, success, encoding, sample_rate, seconds, mill",
        ),
        (
            NEEDED + "request.voice = 3",
            "request.voice of 'a.B/C': 3 is not allowed: it takes a path such as \"voice.name\", or a list of them.",
        ),
        (
            NEEDED + 'request.voice = ["voice", "voice..name"]',
            "request.voice of 'a.B/C': ['voice', 'voice..name'] is not allowed: it takes a path such as \"voice.name\", or a l",
        ),
        (NEEDED + "request.voice = []", "request.voice of 'a.B/C': [] is not allowed: it takes a path"),
        (NEEDED + "encodings = 1", "encodings of 'a.B/C': it takes a table of names with a format for each."),
        (
            NEEDED + 'encodings.LINEAR16 = "pcm"',
            "encodings.LINEAR16 of 'a.B/C': 'pcm' is not allowed: it takes one of pcm16, pcm_f32, wav, mulaw, alaw, flac, mp3",
        ),
        (NEEDED + 'format = "ogg"', "format of 'a.B/C': 'ogg' is not allowed: it takes one of pcm16, "),
        (
            NEEDED + "sample_rate = 24000.5",
            "sample_rate of 'a.B/C': 24000.5 is not allowed: it takes Hz, a whole number from 1000 to 768000.",
        ),
        (NEEDED + "sample_rate = true", "sample_rate of 'a.B/C': True is not allowed"),
        (NEEDED + "sample_rate = 0", "sample_rate of 'a.B/C': 0 is not allowed"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_what_is_allowed(text: str, message: str, tmp_path: Path) -> None:
    """The message names the file, the key and its method, the value, and what is allowed."""
    path = tmp_path / "mapping.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingError) as caught:
        load(path)
    assert f"OTEL_TTS_GRPC_MAPPING: the gRPC mapping {str(path)!r} is n" in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """A file of another kind is refused in words."""
    path = tmp_path / "mapping.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match=r"mapping\.toml' is no text in UTF-8"):
        load(path)


@pytest.mark.parametrize(
    ("encoding", "rate", "expected"),
    [
        ("pcm16", 16000, PCM16(16000)),
        ("LINEAR", 16000, PCM16(16000)),
        ("LINEAR", None, Encoded("pcm16")),
        ("LINEAR", -1, Encoded("pcm16")),
        ("PCM_F32", 8000, PCMFloat32(8000)),
        ("MULAW", 8000, MuLaw(8000)),
        ("ALAW", 16000, ALaw(16000)),
        ("WAV", 16000, Wav()),
        ("wav", None, Wav()),
        ("MP3", 24000, Encoded("mp3", 24000)),
        ("SPEEX", None, Encoded("_OTHER")),
        (None, None, Encoded("_OTHER")),
    ],
)
def test_formats_are_told_by_name(encoding: str | None, rate: int | None, expected: Any) -> None:
    """An encoding is what the table says, else what its own name says; samples of an unknown rate cannot be read."""
    method = Method(NOTHING, NOTHING, {"LINEAR": "pcm16"})
    assert method.audio_format(encoding, rate) == expected


def test_a_method_may_have_one_format_always() -> None:
    """What the table says of format and rate counts where the messages say nothing."""
    method = Method(NOTHING, NOTHING, {}, "pcm16", 22050)
    assert method.audio_format(None, None) == PCM16(22050)
    assert method.audio_format(None, 8000) == PCM16(8000)
    assert method.audio_format("flac", None) == Encoded("flac", 22050)


REQUEST = "speechkit.tts.v3.UtteranceSynthesisRequest"


@pytest.mark.parametrize(
    ("paths", "sent", "read_values"),
    [
        (["text"], message(REQUEST, text="a"), ["a"]),
        (["text"], message(REQUEST, text=""), None),
        (["text", "text_template.text_template"], message(REQUEST, text_template={"text_template": "b"}), ["b"]),
        (["hints.voice"], message(REQUEST, hints=[{"speed": 2}, {"voice": "c"}, {"voice": "d"}]), ["c", "d"]),
        (["hints.voice"], message(REQUEST), None),
        (["lines"], message("acme.v1.Words", lines=["e", "f"]), ["e", "f"]),
    ],
)
def test_text_is_found_by_paths(paths: list[str], sent: Any, read_values: list[str] | None) -> None:
    """The first path that is set counts, with all elements of a repeated field."""
    assert Fields({"text": paths}, "text").read(sent) == ({} if read_values is None else {"text": read_values})


@pytest.mark.parametrize("path", ["none", "text.none", "hints", "hints.none", "hints.speed", "output_audio_spec"])
def test_a_path_that_leads_nowhere_makes_it_another_message(path: str) -> None:
    """A message without the field, or with one of another type, is not what the table means; nor is anything else."""
    fields = Fields({"text": [path], "voice": ["text"]}, "text")
    assert [fields.read(each) for each in (message(REQUEST, text="a"), b"bytes", None, object())] == [None] * 4


def test_maps_have_no_paths() -> None:
    """A field that is a map is no message and no list."""
    assert Fields({"text": ["options.key"]}, "text").read(message("acme.v1.Words", options={"a": "b"})) is None


def test_enums_are_read_by_name() -> None:
    """An enum gives the name of its value, unless that says nothing or is none that is known."""
    fields = Fields({"text": ["text"], "encoding": ["encoding"]}, "text")
    riva = "nvidia.riva.tts.SynthesizeSpeechRequest"
    assert [fields.read(message(riva, encoding=number)) for number in (0, 3, 99)] == [{}, {"encoding": ["MULAW"]}, {}]


@pytest.mark.parametrize(
    ("sent", "read_values"), [({}, {}), ({"result": {}}, {"success": [False]}), ({"result": {"fine": True}}, {"success": [True]})]
)
def test_what_is_not_there_is_not_false(sent: Any, read_values: Any) -> None:
    """A bool in a message that is not set is neither true nor false; one that is set to nothing is false."""
    assert Fields({"audio": ["pcm"], "success": ["result.fine"]}, "audio").read(message("acme.v1.Sound", **sent)) == read_values
