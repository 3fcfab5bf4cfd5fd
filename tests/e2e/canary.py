"""A program that records the text it was given wherever that can be recorded with capture on: run with the text as its argument."""

from __future__ import annotations

import logging
import sys

from opentelemetry import trace

import otel_tts


def main(text: str) -> None:
    """Fail to say it in two ways, tell so wherever that is possible, and print the trace ids."""
    pipeline = otel_tts.configure(service_name="canary")
    tts = otel_tts.Telemetry()
    for cause in (None, ValueError(f"bad input: {text}")):  # the traceback begins with frames, or with a message
        try:
            with tts.synthesis(text=text, voice="joe") as synthesis, synthesis.attempt("engine", model="bird"):
                print(f"{trace.get_current_span().get_span_context().trace_id:032x}")
                raise RuntimeError(f"cannot say {text}") from cause  # noqa: TRY301 - as an engine fails
        except RuntimeError:
            logging.getLogger(__name__).exception("It failed.")
    assert pipeline.flush(30)


if __name__ == "__main__":
    main(sys.argv[1])
