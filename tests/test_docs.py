"""The pages do what they say: each code block and each command of README, CONTRIBUTING and docs/ is run or read by what it is for.

- ``python``, ``output``, and commands that print one: what a reader does, see `tests.reader`.
- ``sh``: of all commands the subcommand, its options, make's targets, files, modules and extras must be there.
- ``toml``, ``yaml``, ``json``, ``proto``, ``promql``: read by the parser that a user's copy meets.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import promql_parser
import pytest
import yaml

from otel_tts.cli import main
from otel_tts.core.prices import Prices
from otel_tts.history import RequestFilter, open_history
from otel_tts.instrumentation.protos import load
from otel_tts.settings import HistorySettings, Settings
from tests.reader import PIPECAT, Block, Reader, arguments, blocks, commands, steps
from tools import timeline

ROOT = Path(__file__).parents[1]
OUTSIDE = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "dashboards/README.md", "collector/README.md")
]
PAGES = [*OUTSIDE, *sorted((ROOT / "docs").rglob("*.md"))]
BUILT_BY_SPHINX = {"mermaid", "{toctree}", "{eval-rst}"}  # tests/test_contributing.py builds the site
READ = {"text", "ini"}
"""Nothing runs these: layouts of messages, and files of other programs."""
SHELL = {"cd", "echo", "export", "git", "docker", "curl", "mlflow", "kubectl", "helm", "evidently", "eval", "otelcol-tts"}
"""Programs of others, which are not ours to run here."""
READS = (
    "otel-tts requests",
    "otel-tts trace",
    "otel-tts config",
    "otel-tts status",
    "otel-tts grafana export",
    "eval ",
    "_OTEL_TTS",
)
"""Commands that are run here, on the telemetry of one request."""
ELSEWHERE = {
    "cd ": ".ci/run",
    "docker ": "tests/test_compose.py",
    'echo "GRAFANA_ADMIN_PASSWORD': "tests/test_compose.py",
    "export OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "tests/sdk/test_standard.py",
    "export OTEL_EXPORTER_OTLP_PROTOCOL": "tests/sdk/test_receiver.py",
    "export OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "tests/report/test_genai_backend.py",
    "export OTEL_EXPORTER_OTLP_TRACES_HEADERS": "tests/report/test_genai_backend.py",
    "export OTEL_METRICS_EXPORTER": "tests/report/test_genai_backend.py",
    "git clone ": ".ci/run",
    "otel-tts --select": "tests/test_cli.py",
    "otel-tts cardinality": "tests/history/test_cardinality.py",
    "make check": "tests/test_contributing.py",
    "make demo": "tests/commands/test_demo.py",
    "make dist": "tests/test_contributing.py",
    "make docs": "tests/test_contributing.py",
    "make install": ".ci/run",
    "make quick": "tests/test_contributing.py",
    "make stack": "tests/e2e/test_native_stack.py",
    "make tools": ".ci/run",
    "otelcol-tts ": "tests/e2e/test_config.py",
    "otel-tts --select ": "tests/commands/test_status.py",
    "otel-tts doctor": "tests/commands/test_json.py",
    "otel-tts grafana push": "tests/commands/test_grafana.py",
    "otel-tts live": "tests/live/test_browser.py",
    "otel-tts report": "tests/report/test_command.py",
    "otel-tts run ": "tests/instrumentation/test_programs.py",
    "otel-tts verify": "tests/commands/test_verify.py",
    "pip install ": "tests/test_platforms.py",
    "python examples/agent_loop": "tests/report/test_genai_backend.py",
}
"""All other commands, by how they begin, and what runs the like of them."""


BLOCKS = [block for page in PAGES for block in blocks(page)]


def blocks_of(*languages: str) -> list[pytest.param]:  # type: ignore[valid-type]
    """The blocks in one of these languages, as parameters of a test."""
    return [
        pytest.param(block, id=f"{block.page.relative_to(ROOT)}:{block.line}") for block in BLOCKS if block.language in languages
    ]


def test_every_block_has_a_language_that_is_checked() -> None:
    """No block escapes: one in an unknown language, or in none, is a mistake."""
    checked = {"python", "output", "sh", "toml", "yaml", "json", "proto", "promql", *BUILT_BY_SPHINX, *READ}
    assert [f"{block.page.name}:{block.line} {block.language!r}" for block in BLOCKS if block.language not in checked] == []


# -- programs ---------------------------------------------------------------------------------------------------------------------


ANOTHER = """
import otel_tts
pipeline = otel_tts.configure(service_name="another", local=True)
tts = otel_tts.Telemetry()
for kind in ("interactive", "batch"):
    with tts.synthesis(text="Of another program.", voice="x", kind=kind) as synthesis, synthesis.attempt("another-engine") as attempt:
        attempt.audio(bytes(48_000), otel_tts.PCM16(24_000))
pipeline.shutdown()
"""


@pytest.fixture(scope="session")
def of_others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The local files of somebody who has run other programs with otel-tts before."""
    data = tmp_path_factory.mktemp("others") / "data"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", ANOTHER], env=environ | {"OTEL_TTS_DATA_DIR": str(data)}, check=True)
    return data


def heard_too_soon(data: Path) -> list[tuple[str, float, float]]:
    """Requests of whose audio more was heard until the interruption than there was time for: service, heard, and the time in seconds."""
    requests = open_history(HistorySettings.load(data_dir=data)).requests(RequestFilter(), 10_000)
    times = [(r.service, r.heard, r.interrupted + (r.silent or 0.0)) for r in requests if r.interrupted and r.heard]
    return [(service, heard_s, time_s) for service, heard_s, time_s in times if heard_s > time_s]


@pytest.mark.parametrize("page", [page for page in PAGES if steps(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_programs_run(page: Path, tmp_path: Path, of_others: Path) -> None:
    """Who follows the page to the letter in an empty folder sees what it says, whatever ran before, and nothing on standard error."""
    shutil.copytree(of_others, tmp_path / "data")
    if page.stem == "pipecat" and not PIPECAT.exists() and os.environ.get("REQUIRE_TOOLS") != "1":
        pytest.skip("`make tools` installs Pipecat")
    Reader(page, tmp_path).follow()
    assert heard_too_soon(tmp_path / "data") == []
    drawn = {picture.name: picture.read_bytes()[:24] for picture in tmp_path.glob("*.png")}  # with width and height
    assert {name: (ROOT / "docs" / "images" / name).read_bytes()[:24] for name in drawn} == drawn


CODE = [(f"{block.page.relative_to(ROOT)}:{block.line}", block.code) for block in BLOCKS if block.language == "python"] + [
    (str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in sorted((ROOT / "examples").glob("*.py"))
]


def test_no_program_exports_for_the_last_time_while_its_event_loop_runs() -> None:
    """What requests do after ``Pipeline.shutdown()`` is counted nowhere: a lifespan or another coroutine does not call it."""
    early = [
        f"{where}: {inner.name}()"
        for where, code in CODE
        for inner in ast.walk(ast.parse(code))
        if isinstance(inner, ast.AsyncFunctionDef) and "pipeline.shutdown" in map(ast.unparse, ast.walk(inner))
    ]
    assert early == []


# -- commands ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks_of("sh"))
def test_commands_exist(block: Block) -> None:
    """Each command has a program, subcommand, options, targets and files that there are."""
    for line in commands(block):
        if line.startswith("#"):
            continue
        if words := arguments(line):
            check(words, f"{block.page.name}:{block.line}: {line}")


def not_followed() -> dict[str, str]:
    """The commands that no reader of a page runs, and where they stand."""
    followed = {(block.page, block.line) for page in PAGES for block, _ in steps(page)}
    return {
        command: f"{block.page.name}:{block.line}"
        for block in BLOCKS
        if block.language == "sh" and (block.page, block.line) not in followed
        for command in commands(block)
        if not command.startswith("#")
    }


def test_every_command_is_run_somewhere() -> None:
    """By a reader of its page, by the next test, or by what is named for it; and what is named is there, and needed."""
    begins = (*READS, *ELSEWHERE)
    assert {command: where for command, where in not_followed().items() if not command.startswith(begins)} == {}
    for begin, path in ELSEWHERE.items():  # what is named for a command speaks of it
        word = re.escape(re.findall(r"\w+", begin)[-1])
        assert re.search(rf"\b{word}\b", (ROOT / path).read_text("utf-8")), f"{path}: {begin}"
    assert [begin for begin in begins if not any(command.startswith(begin) for command in not_followed())] == []


def test_commands_that_read_run(tmp_path: Path) -> None:
    """With the telemetry of one request each of them ends well, and completion is what a shell takes."""
    reader = Reader(ROOT / "docs" / "commands.md", tmp_path)
    reader.follow()
    for command, where in not_followed().items():
        if command.startswith(READS):
            is_of_zsh = "zsh_source" in command  # which is not here: what it is to evaluate is only printed
            result = reader.run(["bash", "-ec", command.replace("eval", "echo") if is_of_zsh else command])
            assert (result.returncode, result.stderr) == (0, ""), f"{where}: {command}\n{result.stdout}\n{result.stderr}"


SPAN = re.compile(r"`((?:otel-tts|make|python|python3) [^`\n]+)`")
"""A command in a sentence."""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem != "CHANGELOG"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_in_sentences_exist(page: Path) -> None:
    """They have subcommands, options, targets, modules and files that there are, though a sentence may leave arguments out."""
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for line in SPAN.findall(prose):
        words = arguments(line)
        if words[0] != "otel-tts":
            check(words, f"{page.name}: {line}")
        elif words[1].isupper() or words[1] == "run":
            continue
        else:
            _check_options(words[1:], f"{page.name}: {line}")


def _check_options(words: list[str], where: str) -> None:
    context, command = click.Context(main), click.Command("none")
    group: click.Command = main
    while isinstance(group, click.Group) and words and (below := group.get_command(context, words[0])):
        group = command = below
        words = words[1:]
    assert command.name != "none" or words[0].startswith("-"), f"{where}: there is no such command"
    options = {name for each in (*command.params, *main.params) for name in (*each.opts, "--help", "--version")}
    assert {word for word in words if word.startswith("-")} <= options, where


def check(words: list[str], where: str) -> None:
    """One command."""
    name, arguments = words[0].rpartition("/")[2], words[1:]
    match name:
        case "otel-tts":
            _check_ours(arguments, where)
        case "make":
            targets = [word for word in arguments if "=" not in word]
            makefile = (ROOT / "Makefile").read_text("utf-8")
            assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == [], where
        case "python" | "python3" | "opentelemetry-instrument":
            _check_python(arguments, where)
        case "pip":
            _check_pip(arguments, where)
        case _:
            assert name in SHELL or importlib.util.find_spec(name.replace("-", "_")), f"{where}: {name} is no known program"


def _check_ours(arguments: list[str], where: str) -> None:
    if not arguments or arguments[0].startswith("-"):
        return
    context = click.Context(main)
    command = main.get_command(context, arguments[0])
    assert command is not None, where
    if arguments[0] == "run":
        assert "--" in arguments, where
        check(arguments[arguments.index("--") + 1 :], where)
        return
    name, arguments = arguments[0], arguments[1:]
    while isinstance(command, click.Group) and (below := command.get_command(context, arguments[0] if arguments else "")):
        name, command, arguments = arguments[0], below, arguments[1:]
    command.make_context(name, arguments)  # parses, without running it


def _check_python(arguments: list[str], where: str) -> None:
    words = [word for word in arguments if word not in ("python", "python3")]
    if words[:1] == ["-m"]:
        root = words[1].partition(".")[0]
        assert root in ("tests", "tools", "benchmarks", "piper") or importlib.util.find_spec(words[1]), where
    elif words and words[0].endswith(".py") and "/" in words[0]:
        assert (ROOT / words[0]).exists(), where


def _check_pip(arguments: list[str], where: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for word in arguments:
        if match := re.match(r"(otel-tts|\.|.*\.whl|otel-tts @ .*)?\[([^]]+)\]", word):
            assert set(match[2].split(",")) <= set(project["optional-dependencies"]), where


# -- files ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks_of("toml"))
def test_toml_is_taken(block: Block, tmp_path: Path) -> None:
    """Prices and mappings of gRPC services are taken by what reads them."""
    content = tomllib.loads(block.code)
    path = tmp_path / "file.toml"
    path.write_text(block.code, "utf-8")
    if any("/" in key for key in content):
        load(Settings.load({"OTEL_TTS_GRPC_MAPPING": str(path)}))
    elif not {"tool", "project"} & set(content):
        Prices.from_file(path)


@pytest.mark.parametrize("block", blocks_of("proto"))
def test_protos_compile(block: Block, tmp_path: Path) -> None:
    """The compiler takes it."""
    (tmp_path / "page.proto").write_text(block.code, "utf-8")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}", f"--python_out={tmp_path}", "page.proto"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)


@pytest.mark.parametrize("block", blocks_of("promql", "yaml", "json"))
def test_queries_and_data_parse(block: Block) -> None:
    """Prometheus's own grammar takes a query; YAML and JSON are that."""
    readers: dict[str, Callable[[str], object]] = {
        "promql": promql_parser.parse,
        "yaml": lambda text: list(yaml.safe_load_all(text)),
        "json": json.loads,
    }
    readers[block.language](block.code)


def test_there_is_something_to_check() -> None:
    """The collector sees the blocks of the README and of the guides."""
    assert {block.language for block in BLOCKS if block.page.name == "README.md"} >= {"python", "output", "sh"}


def anchors(page: Path) -> set[str]:
    """What a link into a page may name: its headings as GitHub writes them, and anchors of its own."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    headings = (re.sub(r"\]\([^)]*\)", "", heading).strip().lower() for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings} | set(
        re.findall(r'<a id="([^"]+)">', text)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link leads to a file of the repository, and to a heading or an anchor that is in it."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    astray = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target.resolve())):
            astray.append(link)
    assert astray == []


def test_the_picture_of_a_stream_is_as_it_is_drawn() -> None:
    """The picture in docs/concepts.md is what its script writes, and shows the gap that the page speaks of."""
    assert timeline.TARGET.read_text("utf-8") == timeline.draw()
    (_, before), (after, _) = timeline.playback()[1:3]
    assert round(after - before, 3) == 0.4


def test_every_dashboard_is_shown() -> None:
    """docs/dashboards.md has the question and a picture of each dashboard, and docs/live.md pictures of all that there are."""
    page = (ROOT / "docs" / "dashboards.md").read_text("utf-8")
    for path in (ROOT / "dashboards").glob("*.json"):
        assert json.loads(path.read_text("utf-8"))["description"] in page
        assert f"images/grafana-{path.stem}-1440-light.png" in page
    live = (ROOT / "docs" / "live.md").read_text("utf-8")
    shown = set(re.findall(r"images/live-(\w+)-", live))
    assert shown == {path.name.split("-")[1] for path in (ROOT / "docs" / "images").glob("live-*.png")}


def test_the_first_screen_says_what_it_is() -> None:
    """README, before its first section: what it is, for whom, three things beyond plain OpenTelemetry, a picture, a trace as text."""
    first = (ROOT / "README.md").read_text("utf-8").partition("\n## ")[0]
    lines = first.splitlines()
    assert lines[2].startswith("OpenTelemetry for text-to-speech (TTS).")
    assert "It is for teams that" in first
    assert re.findall(r"^(\d)\. \*\*", first, re.MULTILINE) == ["1", "2", "3"]
    assert re.search(r"!\[[^\]]+\]\(docs/images/live-now-1440-light\.png\)", first)
    assert "```output\ntrace …" in first


PRINTED = {
    "deployment.md": ("otel_tts/commands/doctor", (" is healthy", " has increased", "the trace is complete: ", " healthy, ", " present")),
    "report.md": (
        "otel_tts/commands/report",
        (
            " cache hits", "Drifted from ", "Changes of the traffic (not caused by an engine)", "Compared with ", " unchanged.",
            "Not judged, or not by all measures: both sides need ", " comparable requests, and have: ",
        ),
    ),
    "telemetry.md": ("otel_tts/semconv", ("tts.synthesize", "text_to_speech {gen_ai.request.model}", "{rpc.method}")),
}  # fmt: skip
"""Of each block that is no program: the words of it that a module prints, and where that module is."""


@pytest.mark.parametrize("block", blocks_of("text"))
def test_texts_have_the_words_that_are_printed(block: Block) -> None:
    """What a page shows of a command's output, and cannot be repeated, has the command's own words."""
    folder, words = PRINTED[block.page.name]
    source = "".join(path.read_text("utf-8") for path in (ROOT / folder).rglob("*.py"))
    assert [each for each in words if each not in block.code or each not in source] == []


ASKED = {
    "start.md": ["zero code", "zero code with a mapping", "by hand", "the interceptor alone"],
    "concepts.md": [
        "**synthesis**", "**attempt**", "**provider**", "tracer provider", "**lookup**", "**tier**", "`coalesced`", "**outcome**",
        "**probe**", "**underrun**", "**first byte**", "**first audio**", "images/stream.svg",
    ],
    "shutdown.md": ["SIGTERM", "forked", "gunicorn", "Celery", "RQ"],
    "series.md": ["an attribute of your own", "`service.instance.id`"],
    "troubleshooting.md": [
        "## I see nothing", "`unknown_service`", "`bypass`", "`BadStatusLine`", "## Text is missing", "## A trace is missing", '"No data"',
    ],
    "migration.md": ["`prometheus_client`", "YAP is an older text-to-speech service", "CHANGELOG.md"],
    "versioning.md": ["Semantic Versioning", "A rename is announced"],
    "commands.md": ["## Shell completion", "~/.bashrc", "~/.zshrc", "fish"],
    "notebooks.md": ["open_history()", "to_frame()", '`frame.attrs["units"]`', "images/notebook-"],
    "guides/grpc.md": ["grpc.aio"], "guides/http.md": ["FastAPI", "WebSocket"], "guides/workers.md": ["## Celery", "## RQ"],
    "guides/livekit.md": ["AgentSession"], "guides/pipecat.md": ["PipelineWorker"], "guides/engine.md": ["lookup", "fallback"],
    "guides/opentelemetry.md": ["set_tracer_provider"],
}  # fmt: skip
"""What people ask, by the page that answers it."""


@pytest.mark.parametrize("page", ASKED)
def test_a_page_answers_what_people_ask(page: str) -> None:
    """Each guide and each page of the site is there, and has the words and questions that lead people to it."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert [words for words in ASKED[page] if words not in text] == []
