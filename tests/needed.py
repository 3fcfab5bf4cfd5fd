"""The tools that some tests need beyond Python's packages: which are missing here, what is skipped without them, how to get them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"


class Tool(NamedTuple):
    """Something that tests need: there if one of its programs is on PATH or in .tools/bin, or its module can be imported."""

    name: str
    skipped: str
    remedy: str
    programs: tuple[str, ...] = ()
    module: str = ""


_PIPELINE = "tests/e2e, tests of real queries in tests/history, tests/grafana and tests/rules"
NEEDED = (
    *(
        Tool(name, _PIPELINE, "`make tools` builds it; that needs Go 1.26", (name,))
        for name in ("otelcol-tts", "prometheus", "promtool", "alertmanager", "amtool", "jaeger")
    ),
    Tool("ovos-tts-server", "vendors' SDKs in tests/instrumentation", "`make tools` installs it", ("../ovos/bin/python",)),
    Tool(
        "Pipecat", "tests/instrumentation/test_pipecat.py and its guide", "`make tools` installs it", ("../pipecat/bin/python",)
    ),
    Tool(
        "Chromium",
        "tests/live/test_browser.py and tests/report/test_mlflow_page.py",
        "as root: apt install chromium",
        ("chromium", "chromium-browser", "google-chrome"),
    ),
    Tool(
        "Node.js",
        "grammar of Tempo's searches and schema of dashboards in tests/grafana",
        "install Node.js 20 or later",
        ("node",),
    ),
    Tool("npm", "the same", "it comes with Node.js", ("npm",)),
    Tool("Go", "licences of what is built, in tests/test_licences.py", "install Go 1.26 or later", ("go",)),
    Tool("Helm", "tests/kubernetes", "`make chart` installs it", module="helm_python"),
    Tool(
        "The Prometheus operator's definitions",
        "tests/kubernetes/test_custom.py",
        "`make tools` brings them",
        ("../bin/monitoring.coreos.com_prometheusrules.yaml",),
    ),
    Tool("Kubernetes' schemas", "tests/kubernetes", "`make chart` installs them", module="kubernetes_validate"),
)


def on_path(program: str) -> bool:
    """Whether a program is in .tools/bin or on PATH."""
    return shutil.which(program, path=f"{TOOLS / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}") is not None or (
        "/" in program and (TOOLS / "bin" / program).exists()
    )


def missing(
    has_program: Callable[[str], bool] = on_path, has_module: Callable[[str], bool] = lambda name: find_spec(name) is not None
) -> list[Tool]:
    """The tools that are not here."""
    return [tool for tool in NEEDED if not (any(map(has_program, tool.programs)) if tool.programs else has_module(tool.module))]


def report(tools: list[Tool]) -> Iterator[str]:
    """What a run without these tools skips, a line for each kind, for people."""
    if not tools:
        yield "tools: all are here, no test will be skipped for lack of one"
        return
    yield "tools: some are missing, and tests that need them will be skipped:"
    by_reason: dict[tuple[str, str], list[str]] = {}
    for tool in tools:
        by_reason.setdefault((tool.skipped, tool.remedy), []).append(tool.name)
    for (skipped, remedy), names in by_reason.items():
        yield f"  without {', '.join(names)}: {skipped}. To get it: {remedy}."
