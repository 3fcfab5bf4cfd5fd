"""Payload: the audio bytes of what an engine yields: buffers, arrays, tensors, lists, base64."""

from __future__ import annotations

import array
import base64
import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_tts.core import clean
from otel_tts.core.formats import Samples, UnreadableAudioError
from otel_tts.core.guard import MisuseError, guarded_or

_ALLOWED = "give bytes or a buffer, base64 of 32 characters or more, a list of samples, or an array or tensor of them."
_BYTES = frozenset(np.dtype(name) for name in ("u1", "i1", "S1", "V1"))  # a truth value is one byte, too, and no audio
_NAMED = 8  # items whose types are told at most
_BASE64 = 32  # characters at least: a short word may be valid base64 by accident
UNREADABLE = object()
"""A marker for a chunk whose audio could not be extracted: the audio came, but its facts are unknown."""


def audio_bytes(data: Any, expected: Samples | None) -> bytes:
    """Return a copy of the audio in ``data``.

    A list of buffers is one after the other; of arrays, too, where the audio has one channel.
    Arrays have the shape (frames,), (frames, channels) or (channels, frames), and the type of ``expected`` (any float type if that is of
    floats) or of bytes. The integers of a list must be in its range. A string is base64, of at least 32 characters. None is no audio.

    Raises:
        MisuseError: it is none of these, or has samples of another type or number of channels.
        UnreadableAudioError: it could not be taken out of a chunk.
        Exception: whatever an object of the host raises when it is converted to an array.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray):
        return bytes(data)
    if data is None:  # an engine that returns nothing has made no audio
        return b""
    if data is UNREADABLE:
        raise UnreadableAudioError("The audio could not be taken out of a chunk.")
    if isinstance(data, str):
        if len(data) < _BASE64:
            raise MisuseError(f"A string (length {len(data)}) is no audio: {_ALLOWED}")
        try:
            return base64.b64decode(data, validate=True)
        except ValueError:
            raise MisuseError(f"A string (length {len(data)}) that is not base64 is no audio: {_ALLOWED}") from None
    if isinstance(data, memoryview) and data.format == "B":
        return data.tobytes()
    if isinstance(data, list | tuple):
        return _items(data, expected)
    return _samples(_array(data), expected, plain=False)


def _items(items: list[Any] | tuple[Any, ...], expected: Samples | None) -> bytes:
    if all(isinstance(item, bytes | bytearray | memoryview) for item in items):
        return b"".join(audio_bytes(item, expected) if isinstance(item, memoryview) else item for item in items)
    if expected is not None and expected.channels == 1 and items and all(hasattr(item, "__array__") for item in items):
        return b"".join(audio_bytes(item, expected) for item in items)
    try:
        numbers_of_items = np.asarray(items)
    except ValueError:  # such as a rate and an array
        kinds = ", ".join(dict.fromkeys(type(item).__name__ for item in items[:_NAMED]))
        raise MisuseError(f"A {type(items).__name__} of different things ({kinds}) is no audio: {_ALLOWED}") from None
    return _samples(numbers_of_items, expected, plain=True)


@guarded_or(lambda _: False)  # an object may raise when its class is read
def is_whole(audio: Any) -> bool:
    """Return whether this is one piece of audio, in a form that `audio_bytes` reads, and no iterable of chunks.

    Args:
        audio: of the host.
    """
    if isinstance(audio, bytes | bytearray | memoryview | str | np.ndarray) or audio is None or hasattr(audio, "__array__"):
        return True
    if isinstance(audio, list | tuple):  # of samples, or of frames of them
        first = audio[0] if audio else None
        return isinstance(first[0] if isinstance(first, list | tuple) and first else first, numbers.Number)
    return isinstance(audio, array.array)


def _array(data: Any) -> npt.NDArray[Any]:
    if not isinstance(data, np.ndarray) and hasattr(data, "__array__"):
        for step in ("detach", "cpu"):  # tensors with a gradient graph, or on an accelerator: numpy cannot read these
            if callable(getattr(data, step, None)):
                data = getattr(data, step)()
        if "bfloat16" in str(getattr(data, "dtype", "")):  # which numpy does not have
            data = data.float()
    elif not isinstance(data, np.ndarray):
        try:
            data = memoryview(data)
        except TypeError:
            raise MisuseError(f"{clean.type_name(data)} is no audio: {_ALLOWED}") from None
    return np.asarray(data)


def _samples(array: npt.NDArray[Any], expected: Samples | None, *, plain: bool) -> bytes:
    """Return the bytes of an array. ``plain``: whether its numbers are Python's own, which have no fixed size."""
    if not array.size:
        return b""
    if array.dtype in _BYTES and not plain:
        return array.tobytes()
    if expected is None:
        raise MisuseError(
            "An array has samples, and the audio was declared to be bytes of a container: declare PCM16 or PCMFloat32."
        )
    wanted = expected.dtype
    array = _interleaved(array, expected.channels)
    if wanted.kind == "f":
        fits = array.dtype.kind == "f" or (plain and array.dtype.kind in "iu" and np.abs(array).max() <= 1)
    elif plain:
        fits = array.dtype.kind in "iu" and wanted.kind in "iu" and wanted.shape == () and _in_range(array, wanted)
    else:
        fits = array.dtype.newbyteorder("<") == wanted
    if not fits:
        raise MisuseError(f"The samples are {array.dtype}, and {expected} was declared: convert them, or declare what they are.")
    with np.errstate(over="ignore"):  # too large for 32 bits: infinite, so unreadable
        return array.astype(wanted).tobytes()


def _interleaved(array: npt.NDArray[Any], channels: int) -> npt.NDArray[Any]:
    array = np.squeeze(array)
    if array.ndim < 2:
        return array
    if array.ndim == 2 and array.shape[1] == channels:
        return array
    if array.ndim == 2 and array.shape[0] == channels:
        return array.T
    raise MisuseError(
        f"An array of shape {array.shape} has not the declared number of channels, which is {channels}: declare what it has."
    )


def _in_range(array: npt.NDArray[Any], wanted: np.dtype[Any]) -> bool:
    limits = np.iinfo(wanted)
    return bool(limits.min <= array.min() and array.max() <= limits.max)
