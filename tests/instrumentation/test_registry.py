"""The registry says what there is, no more and no less: entry points, versions, and a test behind every cell of its table."""

from __future__ import annotations

import ast
import tomllib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from otel_tts.instrumentation.registry import HEAD, LIBRARIES, Library, rows

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]

# The test that proves each cell: of the calls (sync, async, in pieces), and of the whole row at its server.
PROVED = {
    ("tts_piper", "sync"): "test_engines.py::test_what_writes_a_file_is_one_synthesis",
    ("tts_piper", "stream"): "test_engines.py::test_piper_is_measured_to_its_last_sample",
    ("tts_piper", "tested"): "test_programs.py::test_piper_s_own_server",
    ("tts_hibari", "sync"): "test_engines.py::test_hibari_is_measured",
    ("tts_hibari", "stream"): "test_engines.py::test_hibari_is_measured",
    ("tts_hibari", "tested"): "test_engines.py::test_hibari_is_measured",
    ("tts_openai", "sync"): "test_openai_sdk.py::test_a_whole_answer",
    ("tts_openai", "asynchronous"): "test_openai_sdk.py::test_a_whole_answer",
    ("tts_openai", "stream"): "test_openai_sdk.py::test_a_streamed_answer",
    ("tts_openai", "tested"): "test_openai_sdk.py::test_a_streamed_answer",
    **{
        (entry_point, cell): "test_vendors.py::test_what_a_real_server_speaks"
        for entry_point in ("tts_elevenlabs", "tts_cartesia", "tts_deepgram")
        for cell in ("sync", "asynchronous", "stream", "tested")
    },
    **{("tts_polly", cell): "test_vendors.py::test_what_a_real_server_speaks" for cell in ("sync", "stream", "tested")},
    ("tts_google", "sync"): "test_google_sdk.py::test_a_whole_answer",
    ("tts_google", "asynchronous"): "test_google_sdk.py::test_a_whole_answer",
    ("tts_google", "stream"): "test_google_sdk.py::test_a_stream_in_both_directions",
    ("tts_google", "tested"): "test_vendors.py::test_what_a_real_server_speaks",
}

each = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)


def test_every_cell_is_backed_by_a_test() -> None:
    """And no test stands there for a cell that says nothing."""
    cells = {
        (library.entry_point, cell)
        for library in LIBRARIES
        for cell in ("sync", "asynchronous", "stream", "tested")
        if getattr(library, cell)
    }
    assert cells == set(PROVED)
    for name in set(PROVED.values()):
        file, _, function = name.partition("::")
        tree = ast.parse((HERE / file).read_text("utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_entry_points_are_those_of_the_registry() -> None:
    """Of OpenTelemetry's group, ours are the libraries and two that are none: servers and threads."""
    ours = {
        entry_point.name: entry_point.load()
        for entry_point in entry_points(group="opentelemetry_instrumentor")
        if entry_point.module.startswith("otel_tts.")
    }
    assert PROJECT["entry-points"]["opentelemetry_instrumentor"].keys() == ours.keys()
    assert {name: ours.pop(name).__name__ for name in ("tts_grpc_server", "tts_threads")} == {
        "tts_grpc_server": "GrpcServerInstrumentor",
        "tts_threads": "ThreadsInstrumentor",
    }
    assert ours == {library.entry_point: library.instrumentor for library in LIBRARIES}


@each
def test_versions_are_bounded(library: Library) -> None:
    """On both sides; and what is installed here is within."""
    requirement = Requirement(library.instrumentor.requires)
    assert sorted(specifier.operator for specifier in requirement.specifier) == ["<", ">="]
    try:
        assert requirement.specifier.contains(version(requirement.name))
    except PackageNotFoundError:
        assert library.entry_point not in ("tts_piper", "tts_hibari"), "the test extra brings these"


@each
def test_a_target_is_where_it_is_said_to_be(library: Library) -> None:
    """In the SDK that is installed here. A module that an older one lacks is never imported; one without the function warns."""
    try:
        version(Requirement(library.instrumentor.requires).name)
    except PackageNotFoundError:
        pytest.skip(f"{library.name} is not installed: it needs the extra `vendors`")
    for target in library.instrumentor.targets:
        found = import_module(target.module)
        for name in target.name.split("."):
            found = getattr(found, name)
        assert callable(found)


def test_the_table_is_complete() -> None:
    """A row for each library, a cell for each heading, none of them empty."""
    table = list(rows())
    assert [row[0] for row in table] == [library.name for library in LIBRARIES]
    assert all(len(row) == len(HEAD) and all(row) for row in table)


def test_an_unknown_version_is_left_alone(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry says so, and nothing is patched."""
    instrumentor = LIBRARIES[0].instrumentor()
    monkeypatch.setattr(type(instrumentor), "requires", "piper-tts >= 99")
    instrumentor.instrument()
    assert not instrumentor.is_instrumented_by_opentelemetry
    assert 'only instruments "piper-tts >= 99"' in caplog.text
