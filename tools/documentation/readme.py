"""The coverage table of ``README.md``, from the registry of instrumentors; the rest of the README is written by hand."""

from __future__ import annotations

from otel_tts.instrumentation.registry import HEAD, rows
from tools.documentation.markdown import table

BEGIN = "<!-- coverage: written by `make generate` from otel_tts/instrumentation/registry.py -->"
END = "<!-- end of coverage -->"


def render(readme: str) -> str:
    """The README with the table as it is now.

    Args:
        readme: the text of README.md.

    Raises:
        ValueError: the marks between which it stands are missing.
    """
    before, mark, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"README.md needs the lines {BEGIN!r} and {END!r}: the coverage table stands between them.")
    return f"{before}{BEGIN}\n\n{table(HEAD, rows())}\n\n{END}{after}"
