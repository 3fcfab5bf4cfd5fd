"""What all tests share: an environment of their own, and property-based tests that give the same answer every time.

A run says at its start which tools are missing here, and what is skipped without them.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import needed

pytest_plugins = ["pytester"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job of a shell, and so would be all programs of the tests
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("reproducible")

HOSTILE = "hostile inputs: "
"""Where the name of a test's property begins with this, it counts wrong inputs of the kind that the name ends with."""

_PREFIXES = ("OTEL_", "TTS_", "METRICS_ENABLED", "PROMETHEUS_", "MLFLOW_", "DASHBOARD_")


def pytest_report_header() -> list[str]:
    """Say what will be skipped for lack of tools, and how to get them."""
    return list(needed.report(needed.missing()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many seconds the tests of each folder took, for the table in CONTRIBUTING.md, and how many hostile inputs they held."""
    seconds: dict[str, float] = {}
    hostile: dict[str, int] = {}
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            for name, count in report.user_properties if report.when == "call" and report.passed else ():
                if name.startswith(HOSTILE) and isinstance(count, int):
                    kind = name.removeprefix(HOSTILE)
                    hostile[kind] = hostile.get(kind, 0) + count
            parts = report.nodeid.partition("::")[0].split("/")
            part = parts[1] if len(parts) > 2 else "files"
            seconds[part] = seconds.get(part, 0.0) + report.duration
    if longest_first := sorted(seconds.items(), key=lambda item: -item[1]):
        terminalreporter.write_line("seconds by part: " + ", ".join(f"{part} {total:.1f}" for part, total in longest_first))
    if hostile:
        terminalreporter.write_line(
            "hostile inputs: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(hostile.items()))
        )


@pytest.fixture(autouse=True, scope="session")
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the developer's configuration or writes into their data directory, not even from a session's fixture."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(_PREFIXES)]:
            patch.delenv(name)
        patch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True, scope="module")
def _quick_collections() -> None:
    """What exists before a module's tests is not looked through at each collection: with the objects of all tests one takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_data_directory(_clean_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads what another one wrote."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path / "otel-tts"))


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """Streamlit's `AppTest` puts its script in the place of ``__main__``, which processes that later tests start would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test that lets faults pass while it captures leaves no strict guard: `monkeypatch` puts back what it found in the capture.

    Errors that are parameters exist as long as the session. Once raised, they hold frames, and with those the telemetry of their test,
    whose providers the metrics of later tests would show.
    """
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        for error in item.callspec.params.values():
            if isinstance(error, BaseException):
                error.__traceback__ = error.__context__ = None
    yield
    if (module := sys.modules.get("otel_tts.core.guard")) is not None:
        module.guard.strict = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed and logged can be encoded, whatever hostile text it holds: reports go from process to process."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report
