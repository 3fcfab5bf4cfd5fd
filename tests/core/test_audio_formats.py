"""Formats of audio: their names, and rates and channels that cannot be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts.core import clean
from otel_tts.core.audio import PCM16, ALaw, AudioFormat, AudioMeter, Encoded, MuLaw, PCMFloat32, Wav
from otel_tts.core.container import declared_format
from otel_tts.core.formats import Samples
from otel_tts.core.guard import guard


def test_names_of_formats() -> None:
    """Formats have the registry's names, and what it doesn't know is other."""
    formats: list[AudioFormat] = [PCM16(8000), PCMFloat32(8000), MuLaw(), ALaw(), Wav(), Encoded("MP3"), Encoded("amr")]
    assert [each.name for each in formats] == ["pcm16", "pcm_f32", "mulaw", "alaw", "wav", "mp3", "_OTHER"]


@pytest.mark.parametrize("rate", [0, -1, 999, 768_001, 22050.5, math.nan])
@pytest.mark.parametrize("format", [PCM16, PCMFloat32, MuLaw, ALaw, partial(Encoded, "mp3")])
def test_impossible_rates(format: Callable[[Any], AudioFormat], rate: float) -> None:
    """A rate that cannot be is refused with the value and what is allowed."""
    with pytest.raises(ValueError, match=rf"^sample_rate is {rate}\. .* from 1000 to 768000\.$"):
        format(rate)


_FORMATS = [*Samples.__subclasses__(), partial(Encoded, "mp3")]


@pytest.mark.parametrize("rate", ["24000", b"24000", [24000], {}, np.array([8000, 16000]), True, np.True_, 1j, object, 10**400])
@pytest.mark.parametrize("format", _FORMATS)
def test_what_is_no_rate(format: Callable[[Any], AudioFormat], rate: Any) -> None:
    """Whatever is no number is refused like a number that cannot be: with the value and what is allowed."""
    shown = re.escape(clean.shown(rate))
    with pytest.raises(ValueError, match=rf"^sample_rate is {shown}\. .* a whole number of Hz from 1000 to 768000\.$"):
        format(rate)


@given(st.integers(1, 768) | st.floats(1, 768), st.sampled_from(_FORMATS))
def test_a_rate_in_khz(rate: float, format: Callable[[Any], AudioFormat]) -> None:
    """Read as Hz, 24 would make audio a thousand times as long. It is refused, and the message says what was meant."""
    meant = re.escape(f"Is that kHz? {rate:g} kHz are {rate * 1000:.0f} Hz.")
    with pytest.raises(ValueError, match=meant):
        format(rate)
    assert format(round(rate * 1000)) == format(float(round(rate * 1000)))


HEADERS = ("audio/pcm;rate={}", "audio/L16; rate={}", 'audio/x-mulaw;samplerate="{}"', "audio/pcm;encoding=f32le;sample-rate={}")


@given(st.integers(1, 999), st.sampled_from(HEADERS))
def test_a_rate_in_khz_in_a_header(rate: int, header: str) -> None:
    """The duration of such audio is unknown, and the log says why; in Hz it is read."""
    came = declared_format(header.format(rate), Encoded("mp3"))
    assert type(came) is Encoded
    assert AudioMeter(came).seconds is None
    read = declared_format(header.format(rate * 1000), Encoded("mp3"))
    assert isinstance(read, Samples) is (rate <= 768)


def test_the_warning_about_a_rate_in_a_header(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says the rate and what it may have been, once for a place; a header without a rate is no mistake."""
    monkeypatch.setattr(guard, "_warned", set())
    for header in ("audio/pcm", "audio/pcm;rate=24", "audio/pcm;rate=16"):
        declared_format(header, Encoded("mp3"))
        if header == "audio/pcm":
            assert caplog.messages == []
    [message] = caplog.messages
    assert "sample_rate is 24. Is that kHz? 24 kHz are 24000 Hz." in message


@pytest.mark.parametrize("format", Samples.__subclasses__())
def test_no_rate_at_all(format: Callable[..., AudioFormat]) -> None:
    """None is none, neither as a rate nor as a number of channels; numbers of other libraries are."""
    with pytest.raises(ValueError, match=r"^sample_rate is None\. "):
        format(None)
    with pytest.raises(ValueError, match=r"^channels is '2'\. "):
        format(8000, "2")
    assert format(np.int64(8000), np.float32(2)) == format(8000.0, 2)


@pytest.mark.parametrize("name", [None, 3, b"mp3"])
def test_what_is_no_name_of_a_format(name: Any) -> None:
    """It is refused with the value and what is allowed."""
    with pytest.raises(ValueError, match=rf"^name is {name!r}\. Pass the name of a format, such as 'mp3'\.$"):
        Encoded(name)


@pytest.mark.parametrize("channels", [0, 33])
def test_impossible_channels(channels: int) -> None:
    """A number of channels that cannot be is refused with the value and what is allowed."""
    with pytest.raises(ValueError, match=rf"^channels is {channels}\. .* from 1 to 32\.$"):
        PCM16(8000, channels)
