"""Content in what other packages record: attributes in which conversations, prompts and texts to speak stand, by their names.

Packages mark them: LiveKit by a part ``pii`` in the name, GenAI's semantic conventions and others by names. Pipecat's spans have plain
names, and so count by the scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from otel_tts.semconv import content


def without(attributes: Mapping[str, Any], scope: str) -> Mapping[str, Any]:
    """Return the attributes without content; the same object if there is none.

    Args:
        attributes: of a span, an event, a link or a log record.
        scope: the name of the instrumentation scope.
    """
    left = {key: value for key, value in attributes.items() if not _is_content(key, scope)}
    return left if len(left) < len(attributes) else attributes


@lru_cache(4096)
def _is_content(name: str, scope: str) -> bool:
    parts = name.split(".")
    if "pii" in parts:
        return True
    if name not in content.KEPT and any(".".join(parts[:count]) in content.KEYS for count in range(1, len(parts) + 1)):
        return True
    if scope.partition(".")[0] != "pipecat":
        return False
    return name in content.PIPECAT or (len(parts) > 1 and parts[-1] in content.PIPECAT_SETTINGS)


def is_message(event: str | None) -> bool:
    """Return whether an event is a message of a conversation, of which all attributes and the body are content.

    Args:
        event: its name.
    """
    return event in content.EVENTS
