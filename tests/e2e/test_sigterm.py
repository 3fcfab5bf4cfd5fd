"""SIGTERM to a service under load loses no finished span and no count."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import grpc

from otel_tts import semconv
from otel_tts.history import RequestFilter, open_history
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from otel_tts.settings import HistorySettings
from tests.commands.conftest import serving
from tests.e2e.stack import Stack, until

CALLERS = 4
NEVER = "3600000"  # milliseconds: nothing is exported but at the end


def test_nothing_is_lost(own_stack: Stack, tmp_path: Path) -> None:
    """Nothing has been exported when the signal comes: each answer that a caller got is counted, and its trace is whole."""
    environ = {**own_stack.service_environ, "OTEL_METRIC_EXPORT_INTERVAL": NEVER, "OTEL_BSP_SCHEDULE_DELAY": NEVER}
    answered: list[str] = []
    began = time.time()
    with serving(tmp_path / "data", **{**environ, "TTS_PROVIDERS": "espeak"}) as served:
        stopped = threading.Event()

        def call(caller: int) -> None:
            with grpc.insecure_channel(served.target) as channel:
                stub: Any = tts_pb2_grpc.TextToSpeechStub(channel)
                number = 0
                while not stopped.is_set():
                    number += 1
                    answer = stub.Synthesize.future(
                        tts_pb2.SynthesizeRequest(text=f"Caller {caller}, number {number}.", no_cache=True), timeout=30
                    )
                    if answer.code() is not grpc.StatusCode.OK:
                        return  # it is gone
                    answered.append(dict(answer.trailing_metadata())["traceresponse"].split("-")[1])

        callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        until(lambda: len(answered) >= 100, "100 answers")
        assert own_stack.query("tts_synthesis_requests_total") == []  # all of it is still in the process
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0
        stopped.set()
        for caller in callers:
            caller.join(30)
    history = open_history(
        HistorySettings.load({"OTEL_TTS_PROMETHEUS_URL": own_stack.prometheus, "OTEL_TTS_JAEGER_URL": own_stack.traces})
    )
    until(lambda: history.totals(began - 20, time.time()).request_ok >= len(answered), "all answers counted")
    row = history.totals(began - 20, time.time())
    # A request whose answer the end cut off may have been finished by the service: it is counted, and nobody got it.
    assert len(answered) <= row.request_ok <= row.request_count <= len(answered) + CALLERS
    kept = until(lambda: len(stored := requests(history)) >= row.request_count and stored, "all requests traced")
    assert len(kept) == row.request_count
    assert set(answered) <= kept
    for trace in history.traces(answered, began, time.time()):
        names = [span.name for _, span in trace.walk()]
        assert names == ["yap.tts.v1.TextToSpeech/Synthesize", semconv.SYNTHESIS_SPAN.name, "text_to_speech espeak-en-us"]


def requests(history: Any) -> set[str]:
    """The traces of all requests."""
    return {request.trace_id for request in history.every_request(RequestFilter())}
