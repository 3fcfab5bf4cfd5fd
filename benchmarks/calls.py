"""Where the work of a request is done: the calls of one unary request, with the bytecodes that each of them runs.

    python -m benchmarks.calls [otel-tts-off] [--functions | --phases]

The request is that of ``exact.py``. Python counts the calls and bytecodes itself (``sys.settrace``), so nothing has to be installed, and
the figures are the same on any machine. One bytecode is 60 to 80 of the instructions that ``exact.py`` counts. Each line has the
bytecodes of a call with all calls inside it, those of its own, and its name, indented by depth; ``--functions`` adds them up by function,
``--phases`` by what a request does.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import exact, overhead

ROOT = Path(__file__).parents[1]
WARM = 100
"""Requests before the one that is counted: caches are full by then, and bytecodes specialised."""

_REST = "the event loop, wrappers of handler and serializer"
PHASES = {
    "AioServerInterceptor.intercept_service": "arrival: the RPC, gRPC's state, watching what it receives",
    "Rpc.begin": "start of the handler: the call, the RPC's span, the context",
    "Telemetry.synthesis": "synthesis(): the request, its facts, its span",
    "Synthesis.__enter__": "its block",
    "Synthesis.__exit__": "its block",
    "Synthesis.lookup": "lookup() and found()",
    "_Block.__enter__": "lookup() and found()",
    "Lookup.found": "lookup() and found()",
    "_Block.__exit__": "lookup() and found()",
    "_aio_returned": "the answer: its status",
    "_aio_over": "the end: outcome, sums, histograms",
    "Record._repeated_attributes": "the end: attributes",
    "Record._measured_attributes": "the end: attributes",
    "Rpc._describe": "the end: attributes",
    "Span.set_attributes": "the end: attributes",
    "Span.end": "the end: encoding, the queue",
}
"""The part of a request that a function begins, by its qualified name."""


@dataclass
class Call:
    """One call of a Python function."""

    name: str
    own: int = 0
    inner: list[Call] = field(default_factory=list)

    def total(self) -> int:
        """Its bytecodes, with those of the calls inside."""
        return self.own + sum(call.total() for call in self.inner)

    def lines(self, depth: int = 0) -> list[str]:
        """It and all calls inside, a line each."""
        line = f"{self.total():7}{self.own:6}  {'  ' * depth}{self.name}"
        return [line, *(line for call in self.inner for line in call.lines(depth + 1))]

    def phases(self, around: str = _REST) -> Iterator[tuple[str, int]]:
        """The phase and the own bytecodes of it and of all calls inside."""
        phase = PHASES.get(self.name.rpartition(" ")[2], around)
        yield phase, self.own
        for call in self.inner:
            yield from call.phases(phase)

    def all(self) -> list[Call]:
        """It and all calls inside."""
        return [self, *(inner for call in self.inner for inner in call.all())]


class Tracer:
    """Counts calls and bytecodes in the thread that it is started in."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._open: list[Call] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> Tracer:
        """See `sys.settrace`."""
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            call = Call(f"{shortened(frame.f_code.co_filename)}:{frame.f_code.co_firstlineno} {frame.f_code.co_qualname}")
            (self._open[-1].inner if self._open else self.calls).append(call)
            self._open.append(call)
        elif event == "opcode" and self._open:
            self._open[-1].own += 1
        elif event == "return" and self._open:
            self._open.pop()
        return self


def shortened(path: str) -> str:
    """A path, below the repository or a folder of packages."""
    for folder in (f"{ROOT}/", "site-packages/", "/lib/python3.11/"):
        path = path.rsplit(folder, 1)[-1]
    return path


def counted(variant: str) -> list[Call]:
    """The calls of one request, with its turn of the event loop."""
    tracer, create, started = Tracer(), asyncio.create_task, 0

    def create_task(coroutine: Any, **options: Any) -> Any:
        nonlocal started
        started += 1
        sys.settrace(tracer if started == WARM else None)
        return create(coroutine, **options)

    asyncio.create_task = create_task  # type: ignore[assignment]  # called for each request of `exact.serve`, and by nobody else
    try:
        asyncio.run(exact.serve(variant, WARM + 1))
    finally:
        asyncio.create_task = create
        sys.settrace(None)
    return tracer.calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", nargs="?", default="otel-tts", choices=exact.VARIANTS)
    parser.add_argument("--functions", action="store_true", help="the sums by function in place of the tree")
    parser.add_argument("--phases", action="store_true", help="the sums by phase of the request")
    arguments = parser.parse_args()
    process, port = overhead.start("sink")
    os.environ |= exact.environment(arguments.variant, port)
    atexit.register(process.terminate)  # after the last export of this process, whose exit handlers are registered later
    calls = counted(arguments.variant)
    every = [inner for call in calls for inner in call.all()]
    if arguments.functions or arguments.phases:
        parts = [(call.name, call.own) for call in every]
        if arguments.phases:
            parts = [part for call in calls for part in call.phases()]
        own, times = Counter[str](), Counter(name for name, _ in parts)
        for name, bytecodes in parts:
            own[name] += bytecodes
        for name, bytecodes in own.most_common():
            print(f"{bytecodes:7}{times[name]:5}  {name}")
    else:
        print("\n".join(line for call in calls for line in call.lines()))
    print(f"{len(every)} calls, {sum(call.own for call in every)} bytecodes")


if __name__ == "__main__":
    main()
