"""Formats of audio: their names, and rates and channels that cannot be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from otel_tts.core import clean
from otel_tts.core.audio import PCM16, ALaw, AudioFormat, Encoded, MuLaw, PCMFloat32, Wav
from otel_tts.core.formats import Samples


def test_names_of_formats() -> None:
    """Formats have the registry's names, and what it doesn't know is other."""
    formats: list[AudioFormat] = [PCM16(8000), PCMFloat32(8000), MuLaw(), ALaw(), Wav(), Encoded("MP3"), Encoded("amr")]
    assert [each.name for each in formats] == ["pcm16", "pcm_f32", "mulaw", "alaw", "wav", "mp3", "_OTHER"]


@pytest.mark.parametrize("rate", [0, -1, 768_001, 22050.5, math.nan])
@pytest.mark.parametrize("format", [PCM16, PCMFloat32, MuLaw, ALaw, partial(Encoded, "mp3")])
def test_impossible_rates(format: Callable[[Any], AudioFormat], rate: float) -> None:
    """A rate that cannot be is refused with the value and what is allowed."""
    with pytest.raises(ValueError, match=rf"^sample_rate is {rate}\. .* from 1 to 768000\.$"):
        format(rate)


_FORMATS = [*Samples.__subclasses__(), partial(Encoded, "mp3")]


@pytest.mark.parametrize("rate", ["24000", b"24000", [24000], {}, np.array([8000, 16000]), True, np.True_, 1j, object, 10**400])
@pytest.mark.parametrize("format", _FORMATS)
def test_what_is_no_rate(format: Callable[[Any], AudioFormat], rate: Any) -> None:
    """Whatever is no number is refused like a number that cannot be: with the value and what is allowed."""
    shown = re.escape(clean.shown(rate))
    with pytest.raises(ValueError, match=rf"^sample_rate is {shown}\. .* a whole number from 1 to 768000\.$"):
        format(rate)


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
