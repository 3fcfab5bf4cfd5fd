"""Reading local files: complete lines only, from any offset, forwards and backwards, whatever a crash left behind."""

from __future__ import annotations

import json
from pathlib import Path

from otel_tts import files


def request(number: int) -> bytes:
    """A line of a traces file."""
    return json.dumps({"resourceSpans": [{"resource": {}, "number": number}]}, separators=(",", ":")).encode() + b"\n"


def numbers(path: Path, offset: int = 0) -> list[int]:
    """What a reader gets from the file."""
    return [parsed["resourceSpans"][0]["number"] for _, parsed in files.read(path, offset)]


def test_a_torn_last_line_is_read_when_it_is_complete(tmp_path: Path) -> None:
    """A reader that comes while a line is being written gets the others, and that line on its next visit."""
    path = tmp_path / "file.jsonl"
    path.write_bytes(request(1) + request(2) + request(3)[:20])
    offsets = [offset for offset, _ in files.read(path)]
    assert numbers(path) == [1, 2]

    with path.open("ab") as file:
        file.write(request(3)[20:] + request(4))
    assert numbers(path, offsets[-1]) == [3, 4]
    assert numbers(path) == [1, 2, 3, 4]


def test_a_line_torn_by_a_crash_costs_no_other_line(tmp_path: Path) -> None:
    """Half a line with the next one appended right behind it, half a line on its own, and noise: every whole one is read."""
    path = tmp_path / "file.jsonl"
    path.write_bytes(request(1) + request(2)[:25] + request(3) + request(4)[:9] + b"\n" + b"\x00\xff{}\n" + b"\n" + request(5))
    assert numbers(path) == [1, 3, 5]


def test_a_file_that_is_gone_has_no_lines(tmp_path: Path) -> None:
    """Retention may delete a file between the listing and the reading."""
    assert numbers(tmp_path / "gone.jsonl") == []


def test_partitions_are_listed_by_time(tmp_path: Path) -> None:
    """A range gets the hours that it touches, oldest first; other files and signals are left alone."""
    nine = 1795424400.0  # 2026-11-23T09:00Z
    written = [
        files.partition(tmp_path, "traces", nine + moment, "1-a", segment) for moment, segment in ((7200, 0), (0, 1), (0, 0))
    ]
    for partition in [*written, files.partition(tmp_path, "logs", nine, "1-a", 0)]:
        partition.path.parent.mkdir(exist_ok=True)
        partition.path.touch()
    (tmp_path / "traces" / "notes.jsonl").touch()

    assert written[2].path.name == "2026-11-23T09.1-a.0.jsonl"
    assert files.partitions(tmp_path, "traces") == written[::-1]
    assert files.partitions(tmp_path, "traces", since=nine + 3600) == written[:1]
    assert files.partitions(tmp_path, "traces", since=nine + 3599, until=nine + 7199) == [written[2], written[1]]
    assert files.partitions(tmp_path, "traces", until=nine - 1) == []
    assert files.partitions(tmp_path / "nowhere", "traces") == []
