"""The registry says what there is, no more and no less: entry points, versions, and a test behind every cell of its table."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from packaging.requirements import Requirement
from packaging.version import Version

from otel_tts.instrumentation.registry import HEAD, LIBRARIES, Library, rows
from tests.instrumentation.installed import Installed, distribution, inspect_where_installed

HERE = Path(__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # of its legacy client
PROJECT = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]

# What each instrumentation has to be shown to do, and the test that shows it.
CASES = {
    "abandoned": "a stream that is left before its end",
    "failed": "an engine or server that fails",
    "timeout": "patience that is at its end",
    "cancelled": "a task that is cancelled",
    "inside": "one attempt of a request that is open, none of its own in an attempt that is",
    "restored": "the same kinds and signatures, and afterwards the very same functions",
    "priced": "a price that the user gave",
}

# The tests that prove each cell: of the calls (sync, async, in pieces), of what is read as audio, of the whole row at its server;
# and of every case.
PROVED: dict[str, dict[str, str]] = {
    "tts_piper": {
        "sync": "test_engines.py::test_what_writes_a_file_is_one_synthesis",
        "stream": "test_engines.py::test_piper_is_measured_to_its_last_sample",
        "readable": "test_engines.py::test_piper_is_measured_to_its_last_sample",
        "tested": "test_programs.py::test_piper_s_own_server",
        "abandoned": "test_engines.py::test_an_abandoned_stream_is_cancelled",
        "failed": "test_engines.py::test_an_engine_that_fails",
        "timeout": "test_engines.py::test_a_task_that_waits_no_longer",
        "cancelled": "test_engines.py::test_a_task_that_waits_no_longer",
        "inside": "test_engines.py::test_one_request_is_counted_once",
        "restored": "test_engines.py::test_the_host_sees_what_it_saw",
        "priced": "test_engines.py::test_prices_that_the_user_gave",
    },
    "tts_hibari": {
        "sync": "test_engines.py::test_hibari_is_measured",
        "stream": "test_engines.py::test_hibari_is_measured",
        "readable": "test_engines.py::test_hibari_is_measured",
        "tested": "test_engines.py::test_hibari_is_measured",
        "abandoned": "test_engines.py::test_an_abandoned_stream_is_cancelled",
        "failed": "test_engines.py::test_hibari_fails",
        "timeout": "test_engines.py::test_a_task_that_waits_no_longer",
        "cancelled": "test_engines.py::test_a_task_that_waits_no_longer",
        "inside": "test_engines.py::test_a_second_engine_is_a_fallback",
        "restored": "test_engines.py::test_the_host_sees_what_it_saw",
        "priced": "test_engines.py::test_prices_that_the_user_gave",
    },
    "tts_openai": {
        "sync": "test_openai_sdk.py::test_a_whole_answer",
        "asynchronous": "test_openai_sdk.py::test_a_whole_answer",
        "stream": "test_openai_sdk.py::test_a_streamed_answer",
        "readable": "test_formats.py::test_openai",
        "tested": "test_openai_sdk.py::test_a_streamed_answer",
        "abandoned": "test_openai_sdk.py::test_an_abandoned_stream",
        "failed": "test_openai_sdk.py::test_a_refusal",
        "timeout": "test_openai_sdk.py::test_a_timeout",
        "cancelled": "test_openai_sdk.py::test_a_cancelled_task",
        "inside": "test_openai_sdk.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_openai_sdk.py::test_the_functions_come_back",
        "priced": "test_openai_sdk.py::test_a_price",
    },
    **{
        entry_point: {
            "sync": "test_other_ways.py::test_a_whole_answer",
            "asynchronous": "test_other_ways.py::test_a_whole_answer",
            "stream": "test_other_ways.py::test_a_host_that_leaves",
            "readable": f"test_formats.py::test_{entry_point.removeprefix('tts_')}",
            "tested": "test_vendors.py::test_what_a_real_server_speaks",
            "abandoned": "test_vendors.py::test_an_abandoned_stream",
            "failed": "test_vendors.py::test_a_refusal",
            "timeout": "test_vendors.py::test_a_timeout",
            "cancelled": "test_vendors.py::test_a_cancelled_task",
            "inside": "test_vendors.py::test_inside_a_request_it_is_an_attempt",
            "restored": "test_vendors.py::test_the_functions_come_back",
            "priced": "test_vendors.py::test_a_price",
        }
        for entry_point in ("tts_elevenlabs", "tts_cartesia", "tts_deepgram")
    },
    "tts_polly": {
        "sync": "test_vendors.py::test_what_a_real_server_speaks",
        "stream": "test_vendors.py::test_what_a_real_server_speaks",
        "readable": "test_formats.py::test_polly",
        "tested": "test_vendors.py::test_what_a_real_server_speaks",
        "abandoned": "test_vendors.py::test_an_abandoned_stream",
        "failed": "test_vendors.py::test_a_refusal",
        "timeout": "test_vendors.py::test_a_timeout",
        "cancelled": "test_vendors.py::test_a_task_that_waits_for_polly",
        "inside": "test_vendors.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_vendors.py::test_the_functions_come_back",
        "priced": "test_vendors.py::test_a_price",
    },
    "tts_aiobotocore": {
        "asynchronous": "test_vendors.py::test_what_a_real_server_speaks",
        "stream": "test_vendors.py::test_what_a_real_server_speaks",
        "readable": "test_formats.py::test_polly",
        "tested": "test_vendors.py::test_what_a_real_server_speaks",
        "abandoned": "test_vendors.py::test_an_abandoned_stream",
        "failed": "test_vendors.py::test_a_refusal",
        "timeout": "test_vendors.py::test_a_timeout",
        "cancelled": "test_vendors.py::test_a_task_that_is_cancelled_in_the_middle",
        "inside": "test_vendors.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_vendors.py::test_the_functions_come_back",
        "priced": "test_vendors.py::test_a_price",
    },
    "tts_google": {
        "sync": "test_google_sdk.py::test_a_whole_answer",
        "asynchronous": "test_google_sdk.py::test_a_whole_answer",
        "stream": "test_google_sdk.py::test_a_stream_in_both_directions",
        "readable": "test_formats.py::test_google",
        "tested": "test_vendors.py::test_what_a_real_server_speaks",
        "abandoned": "test_google_sdk.py::test_an_abandoned_stream",
        "failed": "test_google_sdk.py::test_a_refusal",
        "timeout": "test_google_sdk.py::test_a_timeout",
        "cancelled": "test_google_sdk.py::test_a_cancelled_task",
        "inside": "test_google_sdk.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_vendors.py::test_the_functions_come_back",
        "priced": "test_google_sdk.py::test_a_price",
    },
    "tts_gemini": {
        "sync": "test_gemini_sdk.py::test_a_whole_answer",
        "asynchronous": "test_gemini_sdk.py::test_a_whole_answer",
        "stream": "test_gemini_sdk.py::test_a_stream",
        "readable": "test_gemini_sdk.py::test_which_audio_is_read",
        "tested": "test_gemini_sdk.py::test_a_stream",
        "abandoned": "test_gemini_sdk.py::test_an_abandoned_stream",
        "failed": "test_gemini_sdk.py::test_what_goes_wrong",
        "timeout": "test_gemini_sdk.py::test_a_timeout",
        "cancelled": "test_gemini_sdk.py::test_a_cancelled_task",
        "inside": "test_gemini_sdk.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_gemini_sdk.py::test_the_functions_come_back",
        "priced": "test_gemini_sdk.py::test_a_price",
    },
    "tts_kokoro": {
        "sync": "test_kokoro.py::test_what_is_made_as_a_whole",
        "asynchronous": "test_kokoro.py::test_a_stream",
        "stream": "test_kokoro.py::test_a_stream",
        "readable": "test_kokoro.py::test_what_is_made_as_a_whole",
        "tested": "test_kokoro.py::test_a_stream",
        "abandoned": "test_kokoro.py::test_an_abandoned_stream",
        "failed": "test_kokoro.py::test_an_engine_that_fails",
        "timeout": "test_kokoro.py::test_a_task_that_is_cut_off",
        "cancelled": "test_kokoro.py::test_a_task_that_is_cut_off",
        "inside": "test_kokoro.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_kokoro.py::test_the_functions_come_back",
        "priced": "test_kokoro.py::test_a_price",
    },
    "tts_sherpa": {
        "sync": "test_sherpa.py::test_what_is_made_as_a_whole",
        "stream": "test_sherpa.py::test_a_stream",
        "readable": "test_sherpa.py::test_a_stream",
        "tested": "test_sherpa.py::test_a_stream",
        "abandoned": "test_sherpa.py::test_an_abandoned_stream",
        "failed": "test_sherpa.py::test_an_engine_that_fails",
        "timeout": "test_sherpa.py::test_a_task_that_waits_no_longer",
        "cancelled": "test_sherpa.py::test_a_task_that_waits_no_longer",
        "inside": "test_sherpa.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_sherpa.py::test_the_functions_come_back",
        "priced": "test_sherpa.py::test_a_price",
    },
    "tts_riva": {
        "sync": "test_riva_sdk.py::test_a_whole_answer",
        "stream": "test_riva_sdk.py::test_a_stream",
        "readable": "test_riva_sdk.py::test_which_audio_is_read",
        "tested": "test_riva_sdk.py::test_a_stream",
        "abandoned": "test_riva_sdk.py::test_an_abandoned_stream",
        "failed": "test_riva_sdk.py::test_what_goes_wrong",
        "timeout": "test_riva_sdk.py::test_patience",
        "cancelled": "test_riva_sdk.py::test_patience",
        "inside": "test_riva_sdk.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_riva_sdk.py::test_the_functions_come_back",
        "priced": "test_riva_sdk.py::test_a_price",
    },
    "tts_realtimetts": {
        "sync": "test_realtimetts.py::test_one_request_for_all_sentences",
        "stream": "test_realtimetts.py::test_one_request_for_all_sentences",
        "readable": "test_realtimetts.py::test_one_request_for_all_sentences",
        "tested": "test_realtimetts.py::test_one_request_for_all_sentences",
        "abandoned": "test_realtimetts.py::test_an_interruption",
        "failed": "test_realtimetts.py::test_an_engine_that_fails",
        "timeout": "test_realtimetts.py::test_an_interruption",
        "cancelled": "test_realtimetts.py::test_an_interruption",
        "inside": "test_realtimetts.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_realtimetts.py::test_the_host_s_objects_are_its_own",
        "priced": "test_realtimetts.py::test_a_price",
    },
    "tts_livekit": {
        "asynchronous": "test_livekit.py::test_two_utterances_on_one_connection",
        "stream": "test_livekit.py::test_two_utterances_on_one_connection",
        "readable": "test_livekit.py::test_two_utterances_on_one_connection",
        "tested": "test_livekit.py::test_an_agent_that_is_interrupted",
        "abandoned": "test_livekit.py::test_a_stream_that_is_left",
        "failed": "test_livekit.py::test_what_breaks_in_the_middle",
        "timeout": "test_livekit.py::test_patience_and_tasks",
        "cancelled": "test_livekit.py::test_patience_and_tasks",
        "inside": "test_livekit.py::test_inside_a_request_of_the_application",
        "restored": "test_livekit.py::test_what_breaks_in_the_middle",
        "priced": "test_livekit.py::test_inside_a_request_of_the_application",
    },
    "tts_pipecat": {
        "asynchronous": "test_pipecat.py::test_two_turns_on_one_connection",
        "stream": "test_pipecat.py::test_two_turns_on_one_connection",
        "readable": "test_pipecat.py::test_two_turns_on_one_connection",
        "tested": "test_pipecat.py::test_two_turns_on_one_connection",
        "abandoned": "test_pipecat.py::test_an_interruption",
        "failed": "test_pipecat.py::test_what_breaks_in_the_middle",
        "timeout": "test_pipecat.py::test_a_provider_that_falls_silent",
        "cancelled": "test_pipecat.py::test_an_interruption",
        "inside": "test_pipecat.py::test_a_service_over_http",
        "restored": "test_pipecat.py::test_the_host_gets_the_same",
        "priced": "test_pipecat.py::test_the_host_gets_the_same",
    },
    "tts_aiohttp": {
        "asynchronous": "test_aiohttp_sockets.py::test_two_utterances_on_one_connection",
        "stream": "test_aiohttp_sockets.py::test_two_utterances_on_one_connection",
        "readable": "test_aiohttp_sockets.py::test_two_utterances_on_one_connection",
        "tested": "test_aiohttp_sockets.py::test_two_utterances_on_one_connection",
        "abandoned": "test_aiohttp_sockets.py::test_patience_and_a_host_that_leaves",
        "failed": "test_aiohttp_sockets.py::test_what_breaks_in_the_middle",
        "timeout": "test_aiohttp_sockets.py::test_patience_and_a_host_that_leaves",
        "cancelled": "test_aiohttp_sockets.py::test_patience_and_a_host_that_leaves",
        "inside": "test_aiohttp_sockets.py::test_inside_a_request_of_the_application",
        "restored": "test_aiohttp_sockets.py::test_other_sockets_are_left_alone",
        "priced": "test_aiohttp_sockets.py::test_two_utterances_on_one_connection",
    },
    "tts_websockets": {
        "sync": "test_sockets.py::test_two_utterances_on_one_connection",
        "asynchronous": "test_sockets.py::test_two_utterances_on_one_connection",
        "stream": "test_sockets.py::test_two_utterances_on_one_connection",
        "readable": "test_sockets.py::test_which_audio_is_read",
        "tested": "test_sockets.py::test_two_utterances_on_one_connection",
        "abandoned": "test_sockets.py::test_a_host_that_leaves",
        "failed": "test_sockets.py::test_what_breaks_in_the_middle",
        "timeout": "test_sockets.py::test_patience_is_no_end",
        "cancelled": "test_sockets.py::test_patience_is_no_end",
        "inside": "test_sockets.py::test_inside_a_request_of_the_application",
        "restored": "test_sockets.py::test_other_sockets_are_left_alone",
        "priced": "test_sockets.py::test_a_price",
    },
    "tts_gtts": {
        "sync": "test_gtts.py::test_what_the_service_speaks",
        "stream": "test_gtts.py::test_what_the_service_speaks",
        "readable": "test_gtts.py::test_what_the_service_speaks",
        "tested": "test_gtts.py::test_what_the_service_speaks",
        "abandoned": "test_gtts.py::test_an_abandoned_stream",
        "failed": "test_gtts.py::test_a_refusal",
        "timeout": "test_gtts.py::test_a_timeout",
        "cancelled": "test_gtts.py::test_a_task_that_waits_for_it",
        "inside": "test_gtts.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_gtts.py::test_the_function_comes_back",
        "priced": "test_gtts.py::test_a_price",
    },
    "tts_edge": {
        "sync": "test_edge_sdk.py::test_what_the_service_speaks",
        "asynchronous": "test_edge_sdk.py::test_what_the_service_speaks",
        "stream": "test_edge_sdk.py::test_what_the_service_speaks",
        "readable": "test_edge_sdk.py::test_what_the_service_speaks",
        "tested": "test_edge_sdk.py::test_what_the_service_speaks",
        "abandoned": "test_edge_sdk.py::test_an_abandoned_stream",
        "failed": "test_edge_sdk.py::test_a_refusal",
        "timeout": "test_edge_sdk.py::test_a_timeout",
        "cancelled": "test_edge_sdk.py::test_a_cancelled_task",
        "inside": "test_edge_sdk.py::test_inside_a_request_it_is_an_attempt",
        "restored": "test_edge_sdk.py::test_the_functions_come_back",
        "priced": "test_edge_sdk.py::test_a_price",
    },
}

each = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)


def test_every_library_has_its_proofs() -> None:
    """And nothing else has."""
    assert PROVED.keys() == {library.entry_point for library in LIBRARIES}


@each
def test_every_cell_and_case_is_backed_by_a_test(library: Library) -> None:
    """One that is there and drives this very instrumentation; and no test stands there for a cell that says nothing."""
    proofs = PROVED[library.entry_point]
    cells = {cell for cell in ("sync", "asynchronous", "stream", "readable", "tested") if getattr(library, cell)}
    assert proofs.keys() == cells | CASES.keys()
    for name in set(proofs.values()):
        file, _, function = name.partition("::")
        source = (HERE / file).read_text("utf-8")
        functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        assert function in {node.name for node in functions}, name
        driven = (HERE / "vendors.py").read_text("utf-8") if file == "test_vendors.py" else source
        assert library.instrumentor.__name__ in driven or file == "test_programs.py", name


def where_installed(library: Library) -> Installed:
    """What holds of it in the environment that has it."""
    installed = inspect_where_installed(library.entry_point)
    if installed is None:
        pytest.skip(f"{distribution(library)} is not installed: it needs the extra `vendors`, or `make tools`")
    return installed


@each
def test_the_newest_version_is_the_one_that_is_tested_here(library: Library) -> None:
    """The table names it last."""
    assert library.tested_versions[-1] == where_installed(library).version


@each
def test_the_oldest_version_is_where_the_range_begins(library: Library) -> None:
    """No range claims more than was run: `oldest.py` runs the tests with it."""
    bounds = {specifier.operator: specifier.version for specifier in Requirement(library.instrumentor.requires).specifier}
    assert Version(library.tested_versions[0]) == Version(bounds[">="])


def test_entry_points_are_those_of_the_registry() -> None:
    """Of OpenTelemetry's group, ours are the libraries and those that are none: servers and threads."""
    ours = {
        entry_point.name: entry_point.load()
        for entry_point in entry_points(group="opentelemetry_instrumentor")
        if entry_point.module.startswith("otel_tts.")
    }
    assert PROJECT["entry-points"]["opentelemetry_instrumentor"].keys() == ours.keys()
    others = ("tts_asgi", "tts_grpc_server", "tts_resends", "tts_threads", "tts_web", "tts_wsgi", "tts_wyoming")
    assert {name: ours.pop(name).__name__ for name in others} == {
        "tts_asgi": "AsgiInstrumentor",
        "tts_grpc_server": "GrpcServerInstrumentor",
        "tts_wyoming": "WyomingInstrumentor",
        "tts_resends": "ResendsInstrumentor",
        "tts_threads": "ThreadsInstrumentor",
        "tts_web": "WebInstrumentor",
        "tts_wsgi": "WsgiInstrumentor",
    }
    assert ours == {library.entry_point: library.instrumentor for library in LIBRARIES}


def test_the_page_has_every_name() -> None:
    """By which an instrumentation is switched off."""
    page = (HERE.parents[1] / "docs" / "zero-code.md").read_text("utf-8")
    names = re.findall(r"`(tts_\w+)`", page)
    assert set(names) - {"tts_"} == PROJECT["entry-points"]["opentelemetry_instrumentor"].keys()


@each
def test_versions_are_bounded(library: Library) -> None:
    """On both sides; and what is installed is within."""
    requirement = Requirement(library.instrumentor.requires)
    assert sorted(specifier.operator for specifier in requirement.specifier) == ["<", ">="]
    assert requirement.specifier.contains(where_installed(library).version)


@each
def test_a_target_is_where_it_is_said_to_be(library: Library) -> None:
    """In the SDK that is installed. A module that an older one lacks is never imported; one without the function warns."""
    assert where_installed(library).missing == []


@each
def test_everything_that_is_wrapped_is_put_back(library: Library) -> None:
    """Also what is wrapped besides the calls themselves, such as what loads a model."""
    installed = where_installed(library)
    assert installed.wrapped >= len(library.instrumentor.targets)
    assert (installed.unwrapped, installed.kept) == ([], [])


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
    with pytest.raises(DependencyConflictError):  # of which OpenTelemetry makes a line in the log
        instrumentor.instrument(skip_dep_check=True)
