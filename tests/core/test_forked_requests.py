"""Requests that are open when the process forks: the parent ends and counts them, whatever the child does with its copy."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from otel_tts import Synthesis, Telemetry
from otel_tts.core.underway import UNDER_WAY
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT, rpc

COUNTED = ("tts.synthesis.duration", "tts.attempt.duration", "tts.synthesis.active")


def in_child(capture: Capture, path: Path, act: Callable[[], Any], metrics: Sequence[str] = COUNTED) -> None:
    """What a forked child has recorded when it has acted is in the file."""
    child = os.fork()
    if child == 0:
        try:
            with suppress(SystemExit):
                act()
            gc.collect()
            names = [span.name for span in capture.spans]
            counted = {name: capture.total(name) for name in metrics}
            path.write_text(json.dumps([names, counted]), encoding="utf-8")
        finally:
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)


NOTHING = [[], {"tts.synthesis.duration": 0, "tts.attempt.duration": 0, "tts.synthesis.active": 0}]


class Open:
    """A stream that is open, with an attempt, in a block or without one."""

    def __init__(self, tts: Telemetry, *, block: bool) -> None:
        self.synthesis = tts.synthesis(TEXT, stream=True)
        self.block = block
        if block:
            self.synthesis.__enter__()
        self.stream = self.synthesis.stream([HALF] * 3, "piper", audio=FORMAT)
        next(self.stream)

    def finish(self) -> None:
        """Pull the rest."""
        for _ in self.stream:
            pass
        if self.block:
            self.synthesis.__exit__(None, None, None)

    def unwind(self) -> None:
        """The child ends by `sys.exit`, inside of the block."""
        error = SystemExit(0)
        self.synthesis.__exit__(SystemExit, error, None)
        raise error

    def drop(self) -> None:
        """The child forgets it."""
        del self.synthesis, self.stream

    def interrupt(self) -> None:
        """The child cuts it off."""
        self.synthesis.interrupt()
        self.stream.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("act", [Open.finish, Open.unwind, Open.drop, Open.interrupt], ids=lambda act: act.__name__)
@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("in_rpc", [False, True])
def test_a_request_of_the_parent_is_counted_once(
    capture_tts: Capture, tmp_path: Path, act: Callable[[Open], None], block: bool, in_rpc: bool
) -> None:
    """A child that continues, leaves, drops or cuts off a request of its parent records nothing of it; the parent all."""
    tts, file = capture_tts.telemetry(), tmp_path / "child"
    with rpc(capture_tts.clock) if in_rpc else nullcontext() as call:
        if call is not None:
            UNDER_WAY.add(call)  # as an interceptor does
        request = Open(tts, block=block)
    in_child(capture_tts, file, lambda: act(request))
    assert json.loads(file.read_text(encoding="utf-8")) == NOTHING
    request.finish()
    if call is not None:
        call.end("OK")
        UNDER_WAY.remove(call)
    assert [synthesis.outcome for synthesis in capture_tts.syntheses()] == ["ok"]
    assert capture_tts.total("tts.attempt.duration") == 1


def test_a_request_of_the_child_is_its_own(capture_tts: Capture, tmp_path: Path) -> None:
    """What a child begins in the attempt of a request of its parent, whose block it has inherited, the child counts."""
    tts, file = capture_tts.telemetry(), tmp_path / "child"

    def speak() -> None:
        with tts.synthesis(TEXT) as inner, inner.attempt("espeak") as own:
            own.audio(HALF, FORMAT)

    with tts.synthesis(TEXT) as s, s.attempt("piper") as attempt:
        in_child(capture_tts, file, speak)
        attempt.audio(HALF, FORMAT)
    names, counted = json.loads(file.read_text(encoding="utf-8"))
    assert sorted(names) == ["text_to_speech", "tts.synthesize"]
    assert counted == {"tts.synthesis.duration": 1, "tts.attempt.duration": 1, "tts.synthesis.active": 0}
    assert [(a.provider, a.outcome) for a in capture_tts.synthesis(outcome="ok").attempts] == [("piper", "ok")]


BLOCKS: dict[str, Callable[[Telemetry, Synthesis], AbstractContextManager[Any]]] = {
    "probe": lambda tts, _: tts.probe("piper"),
    "connection": lambda tts, _: tts.connection("piper"),
    "lookup": lambda _, synthesis: synthesis.lookup("memory"),
    "cache_write": lambda _, synthesis: synthesis.cache_write("memory"),
}
BESIDE = ("tts.attempt.duration", "tts.connection.open.duration", "tts.cache.lookups")
"""What these blocks record."""


@pytest.mark.parametrize("error", [None, SystemExit(0), ConnectionError()], ids=repr)
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_of_the_parent_is_counted_once(
    capture_tts: Capture, tmp_path: Path, kind: str, error: BaseException | None
) -> None:
    """A child that leaves or drops an open probe, connection, look-up or write records nothing of it; it counts what it begins itself."""
    tts, file = capture_tts.telemetry(), tmp_path / "child"
    synthesis = tts.synthesis(TEXT)

    def begin() -> AbstractContextManager[Any]:
        block = BLOCKS[kind](tts, synthesis)
        block.__enter__()
        return block

    def leave(block: AbstractContextManager[Any]) -> None:
        block.__exit__(None if error is None else type(error), error, None)

    blocks = [begin()]
    of_child = []
    for act in (lambda: leave(blocks.pop()), blocks.clear, lambda: leave(begin())):
        in_child(capture_tts, file, act, BESIDE)
        of_child.append(json.loads(file.read_text(encoding="utf-8")))
    leave(blocks.pop())
    of_parent = [[span.name for span in capture_tts.spans], {name: capture_tts.total(name) for name in BESIDE}]
    assert of_parent != [[], dict.fromkeys(BESIDE, 0)]
    assert of_child == [[[], dict.fromkeys(BESIDE, 0)]] * 2 + [of_parent]
