"""The README's code does what it says."""

from __future__ import annotations

import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import grpc
import pytest
from hibari import Hibari

import otel_tts
from otel_tts import PCM16
from otel_tts.cli import main
from otel_tts.grpc import server_interceptor
from otel_tts.testing.capture import Capture

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_ten_lines_instrument_a_service(capture_tts: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the README, with a real engine and a real server in place of its names, yields the telemetry it promises."""
    hibari = Hibari(threads=1)
    configured: list[dict[str, Any]] = []
    monkeypatch.setattr(otel_tts, "configure", lambda **arguments: configured.append(arguments), raising=False)
    namespace: dict[str, Any] = {
        "otel_tts": otel_tts,
        "grpc": grpc,
        "PCM16": PCM16,
        "ThreadPoolExecutor": ThreadPoolExecutor,
        "server_interceptor": server_interceptor,
        "cache": {},
        "engine": lambda text: b"".join(pcm(hibari, text)),
        "engine_stream": lambda text: pcm(hibari, text),
        "answer": lambda audio: audio,
    }
    example = blocks("python")[0]
    exec(compile(example, "README.md", "exec"), namespace)
    assert configured == [{"service_name": "my-speech"}]
    server, speech = namespace["server"], namespace["Speech"]()
    request = type("Request", (), {"text": "Hello there.", "voice": "heart"})

    def unary(_: bytes, context: Any) -> Any:
        return speech.Synthesize(request, context)

    def stream(_: bytes, context: Any) -> Any:
        yield from speech.SynthesizeStream(request, context)

    handlers = {
        "Synthesize": grpc.unary_unary_rpc_method_handler(unary),
        "SynthesizeStream": grpc.unary_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("readme.Speech", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            synthesize = channel.unary_unary("/readme.Speech/Synthesize")
            made, cached = synthesize(b""), synthesize(b"")
            streamed = b"".join(channel.unary_stream("/readme.Speech/SynthesizeStream")(b""))
    finally:
        server.stop(None).wait()
    assert made == cached
    assert streamed
    results = [(s.outcome, s.cache_result, [a.provider for a in s.attempts]) for s in capture_tts.syntheses()]
    assert results == [("ok", "miss", ["hibari"]), ("ok", "hit", []), ("ok", "bypass", ["hibari"])]
    assert capture_tts.total("rpc.server.call.duration") == 3


def pcm(hibari: Hibari, text: str) -> Any:
    """What the engine gives, as PCM16."""
    for chunk in hibari.stream(text, speed=1.0, seed=0):
        audio = getattr(chunk, "audio", chunk)
        yield (audio * 32767).astype("<i2").tobytes()


def test_the_pytest_example_passes(pytester: pytest.Pytester) -> None:
    """The README's test of one's own telemetry passes as it stands."""
    pytester.makepyfile("import pytest\nfrom otel_tts import PCM16\n\n" + blocks("python")[1])
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_its_commands_exist() -> None:
    """Every command line in the README has a subcommand and options that there are, and every make target is there."""
    context = click.Context(main)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    lines = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 5
    for words in map(shlex.split, filter(None, lines)):
        if words[0] == "make":
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1::3]), words  # make a && make b
            continue
        if words[0] == "echo":  # a variable of Compose's
            assert f"${{{words[1].partition('=')[0]}:?" in compose, words
            continue
        if words[0] == "docker":  # tests/test_compose.py resolves it
            assert words[1:3] == ["compose", "up"]
            continue
        assert words[0] == "otel-tts"
        command = main.get_command(context, words[1])
        assert command is not None, words
        command.make_context(words[1], words[2:])  # parses, without running it


def test_its_links_lead_somewhere() -> None:
    """Every relative link leads to a file of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
