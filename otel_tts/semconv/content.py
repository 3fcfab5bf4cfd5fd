"""Names under which other packages record content: prompts, replies, transcripts and texts to speak. None is written by otel-tts."""

from __future__ import annotations

KEYS = frozenset(
    (
        # OpenTelemetry's conventions for generative AI, and Traceloop
        "gen_ai.prompt", "gen_ai.completion", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions",
        "gen_ai.event.content", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.tool.definitions",
        "gen_ai.tool.description", "gen_ai.retrieval.documents", "gen_ai.retrieval.query.text", "gen_ai.memory.query.text",
        "gen_ai.memory.records", "gen_ai.evaluation.explanation", "gen_ai.agent.description",
        "llm.prompts", "llm.completions", "llm.content", "traceloop.entity.input", "traceloop.entity.output", "traceloop.prompt",
        # OpenInference
        "input.value", "output.value", "input.audio", "output.audio", "audio.transcript", "llm.input_messages", "llm.output_messages",
        "llm.choices", "llm.prompt_template", "llm.invocation_parameters", "llm.function_call", "llm.tools", "embedding.text",
        "embedding.embeddings", "retrieval.documents", "reranker.query", "reranker.input_documents", "reranker.output_documents",
        "document.content", "message.content", "message.contents", "tool.parameters", "tool.description", "tool.json_schema",
        # Langfuse, MLflow, Pydantic AI
        "langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input", "langfuse.trace.output",
        "mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.traceInputs", "mlflow.traceOutputs",
        "pydantic_ai.all_messages", "all_messages_events", "tool_arguments", "tool_response", "model_request_parameters",
        # LiveKit: its answering machine detection, and what it recorded before it marked names
        "lk.amd.reason", "lk.user_input", "lk.user_transcript", "lk.instructions", "lk.chat_ctx", "lk.input_text", "lk.response.text",
        "lk.response.function_calls", "lk.function_tool.arguments", "lk.function_tool.output",
    )
)  # fmt: skip
"""Attributes with content, in whatever package; so are those below them (``gen_ai.prompt.0.content``)."""
KEPT = frozenset(("gen_ai.prompt.name",))
"""Attributes below those that are none."""
PIPECAT = frozenset(
    ("text", "transcript", "text_output", "input", "output", "tools", "tools_serialized", "tools.definitions", "tool.arguments",
     "tool.result", "instructions", "context_messages", "function_calls", "session_properties")
)  # fmt: skip
"""Attributes with content on Pipecat's spans: their names are too common to be meant on those of others."""
PIPECAT_SETTINGS = frozenset(
    ("instructions", "system_instruction", "system_instructions", "messages", "prompt", "text", "previous_text", "next_text")
)
"""Settings of Pipecat's services with content, whatever stands before them (``settings.instructions``)."""
EVENTS = ("gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message", "gen_ai.choice",
           "gen_ai.content.prompt", "gen_ai.content.completion")  # fmt: skip
"""Events that are a message of a conversation."""
