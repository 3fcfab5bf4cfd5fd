"""Content in what other packages record: attributes in which conversations, prompts and texts to speak stand, by their names.

Packages mark them: LiveKit by a part ``pii`` in the name, GenAI's semantic conventions by a list. Pipecat's spans have plain names, and so
count by the scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tts.semconv import content


def without(attributes: Mapping[str, Any], scope: str) -> Mapping[str, Any]:
    """Return the attributes without content; the same object if there is none.

    Args:
        attributes: of a span, an event, a link or a log record.
        scope: the name of the instrumentation scope.
    """
    keys = content.KEYS | content.PIPECAT if scope.partition(".")[0] == "pipecat" else content.KEYS
    left = {
        key: value
        for key, value in attributes.items()
        if key not in keys and not key.startswith(content.STARTS) and "pii" not in key.split(".")
    }
    return left if len(left) < len(attributes) else attributes


def is_message(event: str | None) -> bool:
    """Return whether an event is a message of a conversation, of which all attributes and the body are content.

    Args:
        event: its name.
    """
    return event in content.EVENTS
