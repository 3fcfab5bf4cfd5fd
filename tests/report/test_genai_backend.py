"""A backend that knows the GenAI conventions and not us: MLflow takes an agent's traces over OTLP, and shows them as calls of models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples import agent_loop

ROOT = Path(__file__).parents[2]
TRACED = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"


@pytest.fixture(scope="module")
def traces(mlflow_ui: Any) -> list[Any]:
    """What MLflow has after the example's call, whose program was told nothing but an OTLP endpoint."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(mlflow_ui.address)
    experiment = client.create_experiment("agents")
    environ = {
        **os.environ, **TRACED, "PYTHONPATH": str(ROOT), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{mlflow_ui.address}/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"x-mlflow-experiment-id={experiment}",
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "examples" / "agent_loop.py"), "--speed", "20"]
    subprocess.run(command, env=environ, check=True, timeout=100, capture_output=True)
    return sorted(client.search_traces(locations=[experiment], max_results=50), key=lambda trace: trace.info.request_time)


def test_a_conversation_is_a_session(traces: list[Any]) -> None:
    """All utterances of the call are in one session of MLflow, by the id of the conversation, and how they ended is its state."""
    assert [trace.info.trace_metadata["mlflow.trace.session"] for trace in traces] == ["call-7"] * (len(agent_loop.CALL) + 1)
    assert {trace.info.state.value for trace in traces} == {"OK"}
    kinds = Counter(root.attributes.get("tts.request.kind") for root in (trace.data.spans[0] for trace in traces))
    assert kinds == {None: len(agent_loop.CALL), "prefetch": 1}


def test_an_attempt_is_a_call_of_a_model(traces: list[Any]) -> None:
    """With the provider and model in MLflow's own columns, the time to the first chunk, and its failure where it failed."""
    attempts = [span for trace in traces for span in trace.data.spans if span.name == "text_to_speech heart"]
    assert {span.span_type for span in attempts} == {"LLM"}
    assert {span.attributes["mlflow.llm.model"] for span in attempts} == {"heart"}
    assert Counter(span.attributes["mlflow.llm.provider"] for span in attempts) == {"hibari": 4, "cloud": 1}
    for span in attempts:
        streamed = span.attributes["gen_ai.request.stream"] and span.attributes["tts.outcome"] != "error"
        assert (FIRST_CHUNK in span.attributes) == streamed
    [failed] = [span for span in attempts if span.status.status_code.value == "ERROR"]
    assert (failed.attributes["mlflow.llm.provider"], failed.attributes["error.type"]) == ("cloud", "connection")


def test_characters_audio_and_interruptions_are_there(traces: list[Any]) -> None:
    """What the conventions have no name for is an attribute of the utterance: of the same text that the script has."""
    spoken = [trace.data.spans[0].attributes for trace in traces if "tts.request.kind" not in trace.data.spans[0].attributes]
    whole, interrupted, fallback, phrase = spoken
    texts = [turn if isinstance(turn, str) else turn.text for turn in agent_loop.CALL]
    assert [attributes["tts.text.length"] for attributes in (whole, fallback, phrase)] == [len(texts[n]) for n in (0, 2, 3)]
    assert (interrupted["tts.outcome"], interrupted["tts.cancel.reason"]) == ("cancelled", "interrupted")
    assert 1.0 <= interrupted["tts.audio.heard_duration"] <= interrupted["tts.audio.delivered_duration"]
    assert phrase["tts.cache.result"] == "hit"


def test_the_text_stays_private(traces: list[Any]) -> None:
    """No word of the call is in MLflow."""
    words = {word for turn in agent_loop.CALL for word in (turn if isinstance(turn, str) else turn.text).split() if len(word) > 5}
    held = " ".join(str(span.to_dict()) for trace in traces for span in trace.data.spans)
    assert not [word for word in words if word in held]
