"""`make stack`: the system as plain processes, from the repository's own files, each part by itself, all gone at Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from otel_tts.cli import main
from tests.e2e.stack import ROOT, answers, program, until
from tests.ports import free_port

SCRIPT = "deploy/native/stack"
PORTS = (
    "TTS_PORT", "PROMETHEUS_PORT", "DASHBOARD_PORT", "OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "HEALTH_PORT", "STACK_PROMETHEUS_PORT",
    "STACK_ALERTMANAGER_PORT", "JAEGER_OTLP_PORT", "JAEGER_PORT", "JAEGER_GRPC_PORT",
)  # fmt: skip


def processes(directory: Path) -> list[str]:
    """The commands of this machine that were told of a directory by their environment."""
    differences = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"STACK_DIR={directory}".encode() in (process / "environ").read_bytes().split(b"\0"):
                differences.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return differences


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="It looks for processes in /proc.")
def test_the_stack_comes_up_whole_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts answer where the table says, `otel-tts doctor` finds them whole, and Ctrl-C leaves no process behind."""
    for name in ("otelcol-tts", "prometheus", "jaeger", "alertmanager"):
        program(name)
    ports = {name: str(free_port()) for name in PORTS}
    at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    environ = {
        **os.environ,
        **ports,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STACK_DIR": str(tmp_path / "kept"),
        "BATCH_TIMEOUT": "100ms",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    environ.pop("OTEL_TTS_DATA_DIR", None)
    log = tmp_path / "log"
    with log.open("wb") as output:
        stack = subprocess.Popen([ROOT / SCRIPT], env=environ, stdout=output, stderr=output, start_new_session=True)
    try:
        for name, path in (
            ("PROMETHEUS_PORT", "/metrics"),
            ("HEALTH_PORT", ""),
            ("STACK_PROMETHEUS_PORT", "/-/ready"),
            ("STACK_ALERTMANAGER_PORT", "/-/ready"),
            ("JAEGER_PORT", "/api/v3/services"),
            ("DASHBOARD_PORT", "/_stcore/health"),
        ):
            until(lambda url=at[name] + path: stack.poll() is not None or answers(url), f"{name} answers", 60)
            assert stack.poll() is None, log.read_text()[-3000:]
        with grpc.insecure_channel(f"127.0.0.1:{ports['TTS_PORT']}") as channel:
            grpc.channel_ready_future(channel).result(60)
        table = dict(re.findall(r"^  (\S.*?)  +(\S+)", log.read_text(), re.MULTILINE))
        assert table == {
            "speech service": f"127.0.0.1:{ports['TTS_PORT']}",
            "Collector": at["OTLP_HTTP_PORT"],
            "Prometheus": at["STACK_PROMETHEUS_PORT"],
            "Jaeger": at["JAEGER_PORT"],
            "Alertmanager": at["STACK_ALERTMANAGER_PORT"],
            "live dashboard": at["DASHBOARD_PORT"],
            "data": str(tmp_path / "kept"),
        }
        monkeypatch.setenv("COLUMNS", "300")
        monkeypatch.setenv("TTS_PORT", ports["TTS_PORT"])
        options = ["--collector-url", at["HEALTH_PORT"], "--prometheus-url", table["Prometheus"], "--jaeger-url", table["Jaeger"]]
        result = CliRunner().invoke(main, ["doctor", *options])
        assert result.exit_code == 0, result.output
        assert re.findall(r"^(\w+) +(\w+)", result.output, re.MULTILINE)[:4] == [
            ("ok", "service"), ("ok", "Collector"), ("ok", "metrics"), ("ok", "traces"),
        ]  # fmt: skip
        assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"collector", "jaeger", "prometheus"}
        a_part_that_ends(stack, environ, at["HEALTH_PORT"], log)
    finally:
        os.killpg(stack.pid, signal.SIGINT)
        assert stack.wait(30) == 130
    assert processes(tmp_path / "kept") == []


def a_part_that_ends(stack: subprocess.Popen[bytes], environ: dict[str, str], health: str, log: Path) -> None:
    """It is named with why and how to have it again, the others go on, and that command starts it."""
    (started,) = re.findall(r"collector started \(pid=(\d+)\)", log.read_text())
    os.kill(int(started), signal.SIGKILL)
    words = "collector HAS ENDED: killed by SIGKILL. The other parts go on. Start it again: deploy/native/stack collector\n"
    until(lambda: words in log.read_text(), "the part is named", 60)
    assert not answers(health)
    again = log.with_name("again")
    with again.open("wb") as output:
        part = subprocess.Popen([ROOT / SCRIPT, "collector"], env=environ, stdout=output, stderr=output, start_new_session=True)
    try:
        until(lambda: part.poll() is not None or answers(health), "the Collector answers again", 60)
        assert part.poll() is None, again.read_text()
        assert answers(f"http://127.0.0.1:{environ['JAEGER_PORT']}/api/v3/services")
        assert stack.poll() is None
    finally:
        os.killpg(part.pid, signal.SIGINT)
        assert part.wait(30) == 130
    assert "HAS ENDED" not in again.read_text()


def test_a_part_that_does_not_exist(tmp_path: Path) -> None:
    """The parts that there are have names."""
    (tmp_path / "Procfile").write_text("one: true\ntwo: exit 3\n")
    command = [sys.executable, "-m", "tools.parts", str(tmp_path / "Procfile")]
    run = subprocess.run([*command, "three"], capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stderr) == (1, "There is no part 'three'. The parts are one, two.\n")
    run = subprocess.run([*command, "two"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 3
    assert "two HAS ENDED: exit code 3, its last lines say why." in run.stdout


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """Without the programs it names them and the command that makes them, and starts nothing."""
    script = tmp_path / SCRIPT
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / SCRIPT, script)
    run = subprocess.run([script], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "Not in .tools/bin: otelcol-tts prometheus jaeger alertmanager. Run `make tools` first.\n"
