"""Names under which other packages record content: prompts, replies, transcripts and texts to speak. None is written by otel-tts."""

from __future__ import annotations

KEYS = frozenset(
    ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt", "gen_ai.completion",
     "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.tool.definitions", "gen_ai.tool.description",
     "gen_ai.retrieval.query.text", "gen_ai.retrieval.documents", "gen_ai.memory.query.text", "gen_ai.memory.records",
     "gen_ai.evaluation.explanation", "gen_ai.event.content", "input.value", "output.value", "traceloop.entity.input",
     "traceloop.entity.output")
)  # fmt: skip
"""Attributes with content, by OpenTelemetry's GenAI conventions, OpenInference and Traceloop."""
STARTS = (
    "gen_ai.prompt.variable.", *(f"gen_ai.{kind}.{digit}" for kind in ("prompt", "completion") for digit in range(10)),
    "llm.input_messages.", "llm.output_messages.", "llm.prompts.", "llm.completions.",
)  # fmt: skip
"""How the names of attributes with content begin."""
PIPECAT = frozenset(
    ("text", "transcript", "text_output", "input", "output", "tools", "tools_serialized", "tools.definitions", "tool.arguments",
     "tool.result", "instructions", "context_messages", "function_calls", "session_properties", "session.instructions",
     "settings.system_instruction", "settings.instructions", "param.system_instruction", "param.messages")
)  # fmt: skip
"""Attributes with content on Pipecat's spans."""
EVENTS = ("gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message", "gen_ai.choice",
           "gen_ai.content.prompt", "gen_ai.content.completion")  # fmt: skip
"""Events that are a message of a conversation."""
