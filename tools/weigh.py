"""``python -m tools.weigh``: what each extra costs in megabytes and in milliseconds of import, for docs/dependencies.md.

Sizes are those of the installed files of all packages that an extra brings beyond the base, without compiled Python; times are of imports
in new processes, the least of several, beyond what a bare interpreter takes. Nothing is installed: run it where all extras are.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import click
from packaging.requirements import Requirement

NAME = "otel-tts"
MODULES: Mapping[str, str] = {
    "": "otel_tts, otel_tts.sdk",
    "service": "otel_tts.service.run",
    "redis": "redis.asyncio",
    "openai": "otel_tts.service.providers.openai",
    "hibari": "otel_tts.service.providers.hibari",
    "piper": "otel_tts.service.providers.piper, piper, onnxruntime",
    "espeak": "otel_tts.service.providers.espeak, espeakng_loader",
    "report": "mlflow, evidently, otel_tts.report.job",
    "live": "streamlit, plotly.graph_objects, pandas",
    "grafana": "otel_tts.grafana",
    "notify": "apprise",
    "rules": "otel_tts.rules",
    "demo": "otel_tts.commands.demo.command, otel_tts.service.run, streamlit",
}
"""What is imported by whoever uses an extra; first what everybody imports who emits telemetry."""
_RUNS = 5
_BEGIN, _END = "<!-- written by `python -m tools.weigh --write docs/dependencies.md` -->", "<!-- end of what is written -->"


def normalized(name: str) -> str:
    """Normalize the name of a package, as indexes do.

    Args:
        name: of the package.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(extras: Iterable[str]) -> set[str]:
    """List all packages that otel-tts with some extras needs, without itself.

    Args:
        extras: of otel-tts.
    """
    pending, seen = [(NAME, extra) for extra in ("", *extras)], set()
    packages: set[str] = set()
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        packages.add(name)
        try:
            requirements = distribution(name).requires or ()
        except PackageNotFoundError:
            continue  # not for this platform
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                pending += [(normalized(requirement.name), part) for part in ("", *requirement.extras)]
    return packages - {NAME}


def size_mb(package: str) -> float:
    """Sum the sizes of a package's files, in megabytes (10^6 bytes); 0 where it is not installed.

    Args:
        package: its name.
    """
    try:
        files = distribution(package).files or ()
    except PackageNotFoundError:
        return 0.0
    paths = (Path(str(file.locate())) for file in files if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def import_ms(modules: str) -> float:
    """Measure an import in new processes, in milliseconds: the least of several, less the start of the interpreter.

    Args:
        modules: as an `import` statement names them.
    """

    def least(code: str) -> float:
        times = []
        for _ in range(_RUNS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        return min(times)

    return 1000 * (least(f"import {modules}") - least("pass"))


def rows(extras: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """Make the table's rows: extra, packages, megabytes and milliseconds.

    Args:
        extras: of otel-tts.
    """
    base = closure(())
    yield "(none)", f"{len(base)}", f"{sum(map(size_mb, base)):.0f}", f"{import_ms(MODULES['']):.0f}"
    for extra in extras:
        more = closure([extra]) - base
        yield f"`{extra}`", f"{len(more)}", f"{sum(map(size_mb, more)):.0f}", f"{import_ms(MODULES[extra]):.0f}"


def table() -> str:
    """Make the table in Markdown."""
    lines = ["| extra | packages it adds | MB it adds | import, ms |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {' | '.join(row)} |" for row in rows(extra for extra in MODULES if extra)]
    heaviest = sorted(((size_mb(name), name) for name in closure(())), reverse=True)[:8]
    listed = ", ".join(f"`{name}` {size:.0f}" for size, name in heaviest)
    return "\n".join([*lines, "", f"The heaviest packages that everybody installs, in MB: {listed}."])


@click.command()
@click.option("--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Replace the table in this file.")
def weigh(write: Path | None) -> None:
    """Print or write what each extra costs."""
    weights = table()
    if write is None:
        click.echo(weights)
        return
    text = write.read_text(encoding="utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    write.write_text(f"{head}{_BEGIN}\n{weights}\n{_END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    weigh()
