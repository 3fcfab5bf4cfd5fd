"""A real service that sends its telemetry to a stack, and callers who keep account of what they asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.commands.conftest import Served, serving


@dataclass
class Calls:
    """The account: one entry for each call that came back, as the caller saw it."""

    traces: dict[str, str] = field(default_factory=dict)
    """Trace ids, and the status of the call that each is of."""
    seconds: list[float] = field(default_factory=list)
    """How long each took."""

    def __len__(self) -> int:
        return len(self.seconds)


class Speech:
    """Callers of a service."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._channel = grpc.insecure_channel(served.target)
        self._stub: Any = tts_pb2_grpc.TextToSpeechStub(self._channel)
        self._number = 0

    def say(self, text: str | None = None, *, calls: Calls | None = None, **fields: Any) -> str:
        """One unary call, with a text that nobody sent before unless told otherwise; failures too are entered into the account.

        Returns:
            The trace id.
        """
        self._number += 1
        request = tts_pb2.SynthesizeRequest(text=text or f"Number {self._number}.", no_cache=True, **fields)
        began = time.perf_counter()
        call = self._stub.Synthesize.future(request, timeout=60)
        status = call.code().name  # waits
        took = time.perf_counter() - began
        trace_id = dict(call.trailing_metadata())["traceresponse"].split("-")[1]
        if calls is not None:
            calls.traces[trace_id] = status
            calls.seconds.append(took)
        return str(trace_id)

    @contextmanager
    def load(self, rate: float = 20.0) -> Iterator[Calls]:
        """Calls at so many a second for the length of the block, and the account of them; all have come back when it is left."""
        calls, stopped = Calls(), threading.Event()

        def go() -> None:
            due = time.monotonic()
            while not stopped.is_set():
                self.say(calls=calls)
                due += 1 / rate
                stopped.wait(max(0.0, due - time.monotonic()))

        caller = threading.Thread(target=go)
        caller.start()
        try:
            yield calls
        finally:
            stopped.set()
            caller.join()

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


@contextmanager
def speaking(directory: Path, telemetry: Mapping[str, str], **environ: str) -> Iterator[Speech]:
    """`otel-tts serve` for the length of the block: with the fastest of the real engines, and telemetry that goes as told."""
    with serving(directory / "data", **{"TTS_PROVIDERS": "espeak", **telemetry, **environ}) as served:
        speech = Speech(served)
        try:
            yield speech
        finally:
            speech.close()
