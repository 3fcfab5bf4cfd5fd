"""Generated YAML."""

from __future__ import annotations

from typing import Any

import yaml


def document(content: dict[str, Any], source: str) -> str:
    """``content`` as YAML in the order given, with a line that says what it is written from.

    Args:
        content: the document.
        source: the module that it is written from.
    """
    text = yaml.safe_dump(content, sort_keys=False, width=float("inf"), allow_unicode=True, default_flow_style=False)
    return f"# Written by `make generate` from {source}: edit those, not this.\n{text}"
