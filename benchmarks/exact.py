"""What telemetry costs a server, in instructions: unary ``grpc.aio``, tiny audio found in memory, export included.

    python -m benchmarks.exact [--requests 300] [--variants noop,contrib,otel-tts]

Each variant runs in a process of its own under Valgrind's Callgrind, which counts only while requests are handled and exported: first N
of them, then 2N. The difference is what N requests cost, whatever an export costs by itself. Instructions do not depend on how busy the
machine is, so a change of 1% can be seen. gRPC's own work is not in it: the interceptor and the handler are called as gRPC calls them,
with a context that answers as gRPC's does. The sink for OTLP is another process, which is not counted. It counts the spans, so that none
is cheap because it was dropped.

Needs Valgrind (Debian: ``apt-get install valgrind``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import overhead

VARIANTS = ("bare", "noop", "contrib", "otel-tts", "otel-tts-sdk", "contrib-off", "otel-tts-off")
"""``-sdk``: with the SDK's own path instead of the direct one. ``-off``: not sampled."""
_WARM = 100
"""Requests before those that are counted."""
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


class Context:
    """What ``grpc.aio`` gives a handler, as far as interceptors ask."""

    def __init__(self) -> None:
        self._trailing: Any = ()

    def invocation_metadata(self) -> Any:
        return ()

    def time_remaining(self) -> float | None:
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"

    def code(self) -> Any:
        return 0

    def details(self) -> str:
        return ""

    def done(self) -> bool:
        return False

    def add_done_callback(self, callback: Any) -> None: ...

    def trailing_metadata(self) -> Any:
        return self._trailing

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._trailing = metadata


async def serve(
    variant: str, *parts: int, before: Callable[[], None] = lambda: None, after: Callable[[], None] = lambda: None
) -> None:
    """Handle requests as gRPC would, each in a task of its own, then export what they recorded.

    Args:
        variant: the telemetry.
        parts: how many requests are handled before each export.
        before: called before each part.
        after: called after each export.
    """
    import grpc

    name = variant.removesuffix("-off").removesuffix("-sdk")
    handler, interceptors, flush = overhead.MAKE[name]()
    details = SimpleNamespace(method="/bench.Speech/Speak", invocation_metadata=())

    registered: Any = grpc.unary_unary_rpc_method_handler(handler)  # gRPC has one for all RPCs of a method

    async def innermost(_: Any) -> Any:
        return registered

    async def request() -> None:
        continuation = innermost
        for interceptor in reversed(interceptors):
            continuation = _bound(interceptor, continuation)
        method_handler = await continuation(details)
        response = await method_handler.unary_unary(overhead.TEXT, Context())
        if method_handler.response_serializer is not None:
            response = method_handler.response_serializer(response)
        assert response == overhead.AUDIO

    for requests in parts:
        await asyncio.to_thread(before)
        for _ in range(requests):
            await asyncio.create_task(request())
        await asyncio.to_thread(flush)
        await asyncio.to_thread(after)


def _bound(interceptor: Any, continuation: Any) -> Any:
    return lambda details: interceptor.intercept_service(continuation, details)


def counted(variant: str, requests: int, environment: dict[str, str]) -> list[int]:
    """Return the instructions of N requests and their export, and of 2N."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={directory}/out", f"--log-file={directory}/log",
            sys.executable, "-m", "benchmarks.exact", "--serve", variant, "--requests", str(requests),
        ]  # fmt: skip
        subprocess.run(command, check=True, env=os.environ | environment)
        dumps = [Path(directory, f"out.{number}").read_text() for number in (2, 3)]
    return [int(total[1]) for dump in dumps if (total := _TOTAL.search(dump))]


def control(*options: str) -> None:
    """Have Callgrind, in which this process runs, switch counting on or off, or write what it has counted."""
    subprocess.run(["callgrind_control", *options, str(os.getpid())], check=True, capture_output=True)  # noqa: S607 - Valgrind, wherever it is installed


def count() -> None:
    """Count from now on."""
    control("--instr=on")


def write() -> None:
    """Stop counting, and write what was counted since :func:`count`."""
    control("--instr=off")
    control("--dump")


def environment(variant: str, sink_port: int) -> dict[str, str]:
    """The environment variables of a variant's process."""
    variables = overhead.exporting_to(sink_port) | {
        "PYTHONHASHSEED": "0",
        # Under Callgrind time passes 50 times as fast: what is done by the clock is done once, at the end.
        "OTEL_METRIC_EXPORT_INTERVAL": "86400000",
        "OTEL_BSP_SCHEDULE_DELAY": "86400000",
    }
    if variant.endswith("-off"):
        variables["OTEL_TRACES_SAMPLER"] = "always_off"
    if variant.endswith("-sdk"):
        variables["OTEL_TTS_DIRECT"] = "false"
    variables["OTEL_SERVICE_NAME"] = variant
    return variables


def measured(variant: str, requests: int, sink_port: int) -> tuple[float, int]:
    """Instructions a request, and the spans that arrived, of all requests."""
    once, twice = counted(variant, requests, environment(variant, sink_port))
    return (twice - once) / requests, overhead.received(sink_port).get(variant, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--serve", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve, _WARM, arguments.requests, 2 * arguments.requests, before=count, after=write))
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("Counting instructions needs Valgrind. On Debian: apt-get install valgrind")
    variants = list(dict.fromkeys(["noop", *arguments.variants.split(",")]))
    process, port = overhead.start("sink")
    try:
        figures = {variant: measured(variant, arguments.requests, port) for variant in variants}
    finally:
        process.terminate()
        process.wait(10)
    added = {variant: figure - figures["noop"][0] for variant, (figure, _) in figures.items()}
    if arguments.json:
        print(json.dumps(added))
        return
    print(f"{'variant':14}{'instructions/request':>22}{'added':>12}{'added / contrib':>17}{'spans received':>16}")
    for variant, (figure, spans) in figures.items():
        ratio = f"{added[variant] / added['contrib']:.2f}" if "contrib" in added and variant not in ("bare", "noop") else ""
        made = spans_expected(variant) * (_WARM + 3 * arguments.requests)
        print(f"{variant:14}{figure:22,.0f}{added[variant]:12,.0f}{ratio:>17}{f'{spans} of {made}':>16}")


def spans_expected(variant: str) -> int:
    """Spans a request."""
    return 0 if variant.endswith("-off") else {"contrib": 1, "otel-tts": 2, "otel-tts-sdk": 2}.get(variant, 0)


if __name__ == "__main__":
    main()
