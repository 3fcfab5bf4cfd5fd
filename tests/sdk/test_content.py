"""Content that other packages record on their spans: each name of the list, and the programs of the guides of LiveKit and Pipecat."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link

from otel_tts.sdk import content, foreign
from otel_tts.semconv import content as names
from tests.instrumentation.speech_http import SpeechHttp
from tests.reader import PIPECAT, ROOT, blocks

CANARY = "quokkasecret"
CASES = [
    *(("livekit-agents", name) for name in sorted(names.KEYS)),
    *((scope, name) for scope in ("pipecat", "pipecat.turn") for name in sorted(names.PIPECAT)),
    *(("pipecat", f"{group}.{name}") for group in ("settings", "param", "session", "extra") for name in sorted(names.PIPECAT_SETTINGS)),
    *(("another", name) for name in ("lk.pii.input_text", "lk.pii.response.text", "a.pii.b", "pii.x", "gen_ai.prompt.0.content",
       "gen_ai.completion.12.content", "gen_ai.prompt.variable.name", "llm.input_messages.0.message.content", "traceloop.prompt.template")),
]  # fmt: skip
STAY = {
    "lk.response.ttft": 0.5, "lk.tts.label": "x", "gen_ai.request.model": "m", "gen_ai.prompt.name": "p", "gen_ai.usage.input_tokens": 3,
    "input": "i", "text": "t", "settings.text": "t", "output.mime_type": "text/plain", "llm.model_name": "m", "settings.voice": "v",
    "lk.piii": "x", "traceloop.entity.name": "n", "tool.name": "n", "gen_ai.prompts": "x",
}  # fmt: skip


@pytest.mark.parametrize(("scope", "name"), CASES)
def test_each_name(scope: str, name: str) -> None:
    """What stands under it, of a span, an event or a link, does not leave; the rest does, and exporters of others get all."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer(scope)
    attributes = {name: CANARY, "other": "stays"}
    span = tracer.start_span(
        "call", attributes=attributes, links=[Link(tracer.start_span("linked").get_span_context(), attributes)]
    )
    span.add_event("event", attributes)
    span.end()
    [finished] = exporter.get_finished_spans()
    masked = foreign.span(finished).to_json()
    assert CANARY not in masked
    assert masked.count("stays") == 3
    assert finished.to_json().count(CANARY) == 3


@pytest.mark.parametrize("name", STAY)
def test_others_stay(name: str) -> None:
    """Lengths, models, kinds, and the common names that hold content on Pipecat's spans only."""
    given = {name: STAY[name]}
    assert content.without(given, "another") is given


def test_the_page_names_them_all() -> None:
    """docs/privacy.md has the same names."""
    page = (ROOT / "docs" / "privacy.md").read_text("utf-8")
    table = page.partition("## Names that hold text")[2].partition("\n## ")[0]
    examples = {"lk.pii.input_text", "gen_ai.prompt.0.content", "settings.instructions", "grep", "$OTEL_TTS_DATA_DIR", "pii"}
    every = names.KEYS | names.KEPT | names.PIPECAT | names.PIPECAT_SETTINGS | set(names.EVENTS)
    assert set(re.findall(r"`([^`]+)`", table)) == every | examples


def program(page: str) -> str:
    """The first program of a guide."""
    return next(block.code for block in blocks(ROOT / "docs" / "guides" / page) if block.language == "python")


OWN = """
from opentelemetry import trace
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=open("own.txt", "w"))))
"""
"""An exporter of the program's own."""
SPOKEN = ("dear listener", "nobody wants")
"""Of both texts of the guides."""


def telemetry(directory: Path, code: str, command: list[str], **variables: str) -> tuple[str, str]:
    """All that is in the files after a run of a program, and what its own exporter got."""
    (directory / "program.py").write_text(code, "utf-8")
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(directory / "data")} | variables
    subprocess.run([*command, "program.py"], cwd=directory, env=environ, check=True, capture_output=True, timeout=100)
    files = "".join(path.read_text("utf-8") for path in (directory / "data").rglob("*") if path.is_file())
    return files, (directory / "own.txt").read_text("utf-8")


def test_the_guide_of_livekit(tmp_path: Path) -> None:
    """No word of what the agent of the guide says is in any file; what else LiveKit records is, and the program's own exporter has all."""
    pytest.importorskip("livekit.agents", reason="it needs the extra `vendors`")
    command = [str(Path(sys.executable).with_name("otel-tts")), "run", "--", sys.executable]
    files, own = telemetry(tmp_path, OWN + program("livekit.md"), command, OTEL_SERVICE_NAME="agent")
    assert not any(text in files for text in (*SPOKEN, "lk.pii."))
    assert all(text in own for text in (*SPOKEN, "lk.pii.input_text", "lk.pii.response.text"))
    assert all(name in files for name in ("agent_turn", "lk.speech_id", "lk.tts.label", "tts_request"))


def test_the_guide_of_pipecat(tmp_path: Path) -> None:
    """The same of its bot with a vendor's service, whose spans Pipecat itself writes."""
    if not PIPECAT.exists() and os.environ.get("REQUIRE_TOOLS") != "1":
        pytest.skip("`make tools` installs Pipecat")
    with SpeechHttp().running() as vendor:
        service = f"OpenAITTSService(api_key='none', base_url={vendor.url!r})"
        code = program("pipecat.md").replace("Pipeline([Tone(),", f"Pipeline([{service},")
        assert service in code
        code = code.replace("PipecatInstrumentor().instrument()\n", f"PipecatInstrumentor().instrument(){OWN}")
        code = f"from pipecat.services.openai.tts import OpenAITTSService\n{code}"
        files, own = telemetry(tmp_path, code, [str(PIPECAT)], PYTHONPATH=str(ROOT))
    assert not any(text in files for text in SPOKEN)
    assert all(text in own for text in SPOKEN)
    assert all(name in files for name in ("gen_ai.provider.name", "metrics.character_count", "turn.number", "conversation.id"))
