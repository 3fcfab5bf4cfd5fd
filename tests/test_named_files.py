"""Files that settings name: whatever lies at the path, one line says so, at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_tts import Telemetry
from otel_tts.errors import SettingError
from otel_tts.instrumentation.protos import load
from otel_tts.settings import Settings
from otel_tts.settings.named_file import LARGEST, read_bytes
from otel_tts.settings.standard import file


def _sparse(path: Path) -> None:
    with path.open("wb") as sparse:
        sparse.truncate(1 << 30)


AT_THE_PATH: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "cannot be read: It is a pipe or a socket, not a file"),
    "a directory": (Path.mkdir, "cannot be read: Is a directory"),
    "a link to itself": (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    "a device without an end": (lambda path: path.symlink_to("/dev/zero"), "cannot be read: It has more than 16 MiB"),
    "a gigabyte of zeros": (_sparse, "cannot be read: It has more than 16 MiB"),
    "UTF-16": (lambda path: path.write_text("[a]\n", "utf-16"), "is no text in UTF-8"),
    "nested arrays": (lambda path: path.write_text("a=" + "[" * 20_000), "is nested too deeply"),
    "nested tables": (lambda path: path.write_text("a=" + "{a=" * 5_000), "is nested too deeply"),
    "a number of 6,000 digits": (lambda path: path.write_text("a=" + "9" * 6_000), "is no TOML: Exceeds the limit"),
    "YAML": (lambda path: path.write_text("a: &a [*a]\n"), "is no TOML: "),
    "a key twice": (lambda path: path.write_text("[a]\nb=1\n[a]\nb=1\n"), "is no TOML: "),
}
READERS: dict[str, tuple[str, Callable[[Settings], object]]] = {
    "price file": ("OTEL_TTS_PRICES", lambda settings: Telemetry(settings=settings)),
    "gRPC mapping": ("OTEL_TTS_GRPC_MAPPING", load),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("what", AT_THE_PATH)
def test_what_is_no_such_file(what: str, kind: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Nothing is waited for, nothing without an end is read, and the message names the variable and the file."""
    make, message = AT_THE_PATH[what]
    variable, read = READERS[kind]
    make(tmp_path / "named")
    with pytest.raises(SettingError, match=re.escape(f"{variable}: the {kind} {str(tmp_path / 'named')!r} {message}")):
        read(Settings.load({variable: str(tmp_path / "named")}))
    record_property("hostile inputs: files", 1)


def test_a_file_of_an_editor_that_marks_its_byte_order(tmp_path: Path) -> None:
    """It is the same file."""
    prices = tmp_path / "prices.toml"
    prices.write_text("[piper]\nusd_per_million_characters = 1.5\n", "utf-8-sig")
    telemetry = Telemetry(settings=Settings.load({"OTEL_TTS_PRICES": str(prices)}))
    assert telemetry.emitter.prices.cost("piper", None, 1_000_000) == 1.5


def test_a_certificate_that_is_a_pipe(tmp_path: Path) -> None:
    """It is refused at the start, where opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="the path of a file that can be read"):
        file(str(tmp_path / "pipe"))


def test_the_largest_file(tmp_path: Path) -> None:
    """It is read whole; one byte more is refused. `/dev/null` is an empty file."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * LARGEST)
    assert len(read_bytes(path)) == LARGEST
    assert read_bytes("/dev/null") == b""
    path.write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(OSError, match="It has more than 16 MiB"):
        read_bytes(path)
