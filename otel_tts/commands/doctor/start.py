"""How to start a part of the pipeline that does not answer: in a checkout by its own files, elsewhere it is the user's."""

from __future__ import annotations

from pathlib import Path

import otel_tts

_CHECKOUT = Path(otel_tts.__file__).parents[1]


def start_part(name: str, directory: Path = _CHECKOUT) -> str:
    """Say how to start a part of the pipeline.

    Args:
        name: of the part, as Compose and the options have it, such as ``jaeger``.
        directory: what holds the package: a checkout, or where packages are installed.
    """
    if _has_stack(directory):
        stack = "" if name == "grafana" else "`make stack` or "  # which has no Grafana, as that is under the AGPL
        return f"Start it: {stack}`docker compose up -d {name}`. Elsewhere? Give --{name}-url."
    return (
        f"Start your {name}, or give --{name}-url where it runs elsewhere. Without a pipeline, `otel-tts requests` and `otel-tts trace` "
        "read what the service wrote into local files."
    )


def start_service(directory: Path = _CHECKOUT) -> str:
    """Say how to start the reference service, or to follow a request of another one.

    Args:
        directory: what holds the package: a checkout, or where packages are installed.
    """
    stack = "`make stack`, `docker compose up -d tts` or `otel-tts serve`" if _has_stack(directory) else "`otel-tts serve`"
    return (
        f"Start it: {stack}. Elsewhere? Give --target HOST:PORT. "
        "A service of your own? --wait follows its next request, --trace-id one that was made."
    )


def _has_stack(directory: Path) -> bool:
    """Whether the package stands in a checkout, with the files that start the pipeline. A wheel brings none of them."""
    return (directory / "Makefile").is_file() and (directory / "deploy" / "native" / "stack").is_file()
