"""What more replicas cost: a real Prometheus with this repository's rules, fed over OTLP by 1, 10 and 50 instances that export every 10 s.

    python -W ignore -m benchmarks.scale [1 10 50] [--minutes 60] [--live 180]

Instances are simulated: what one real instance exported is sent again with times, totals and an id of their own. First the last hour, as
fast as Prometheus takes it; then on, in real time, while readers, the live dashboard's page Now (drawn as Streamlit does) and rules are
timed. Seconds are those of the clock, on a machine that also runs Prometheus and the generator; where there are two numbers, the second
is seconds of the processors. At the end it prints the table of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.scale_instance import INTERVAL_S, Instance, exported, feed, replay
from otel_tts.promql.recorded import DELAY_S, GRID_S, SEEN

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "prometheus" / "rules"
GROWTH = "growth.yml"


def main() -> None:
    """Measure, for each number of replicas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("replicas", type=int, nargs="*", default=[1, 10, 50])
    parser.add_argument("--minutes", type=int, default=60, help="of the past that are sent first")
    parser.add_argument("--live", type=int, default=180, help="seconds of exports in real time before anything is timed")
    parser.add_argument("--no-rules", dest="rules", action="store_false", help="leave out the rules that record growth")
    parser.add_argument("--environment", action="append", default=[], help="NAME=VALUE for the instances")
    options = parser.parse_args()
    os.environ |= dict(setting.split("=", 1) for setting in options.environment)
    template = exported()
    results = []
    for count in options.replicas:
        with tempfile.TemporaryDirectory() as name, prometheus(Path(name)) as (url, process):
            now = time.time()
            instances = [Instance(template, number, now - 60 * options.minutes) for number in range(count)]
            filled = timed(lambda: replay(url, instances, now - 60 * options.minutes, now))  # noqa: B023 - called at once
            feeding = multiprocessing.get_context("fork").Process(target=feed, args=(url, instances), daemon=True)
            feeding.start()
            try:
                recorded = timed(lambda: record(url, Path(name), process, now - 60 * options.minutes)) if options.rules else 0.0  # noqa: B023
                time.sleep(options.live)
                measured = {"replicas": count, "filled": filled, "recorded": recorded, **measurements(url, process.pid)}
            finally:
                feeding.kill()
            results.append(measured)
            print(json.dumps(measured), flush=True)
    print(table(results))


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """What was measured, as the table of docs/scaling.md."""
    rules = "rules, s of their interval"

    def page(measured: Mapping[str, Any], name: str) -> str:
        return f"{measured[name]['median']:.1f} s, {measured[name]['longest']:.1f} s at most"

    def slowest(measured: Mapping[str, Any]) -> str:
        name, (taken_s, interval_s) = max(measured[rules].items(), key=lambda item: item[1][0] / item[1][1])
        return f"{taken_s:.2f} s of {interval_s} s ({name.removeprefix('otel-tts ')})"

    rows: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
        "series": lambda measured: f"{measured['series']:,}",
        "memory of Prometheus": lambda measured: f"{measured['prometheus MB']} MB",
        "the first moment that anything is known of": lambda measured: f"{measured['began'][0]:.1f} s",
        "`aggregates` of 1 h": lambda measured: f"{measured['1 h'][0]:.1f} s",
        "`aggregates` of 24 h": lambda measured: f"{measured['24 h'][0]:.1f} s",
        "`aggregates` of 24 h at 15 min": lambda measured: f"{measured['24 h at 15 min'][0]:.1f} s",
        "page Now, cold": lambda measured: f"{measured['page cold'][0]:.1f} s",
        "page Now, refresh: median": lambda measured: page(measured, "page refresh"),
        "page Now, two viewers at once: median": lambda measured: page(measured, "two viewers"),
        "a refresh, of the processors": lambda measured: f"{measured['page refresh']['processors']:.1f} s",
        "the slowest group of rules": slowest,
    }
    lines = [["", *(f"{each['replicas']}" for each in results)], ["---"] * (len(results) + 1)]
    lines += [[name, *map(cell, results)] for name, cell in rows.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def record(url: str, directory: Path, process: subprocess.Popen[bytes], began: float) -> None:
    """Load the rules that record growth, and have promtool record what they would have recorded of the past; until both are there."""
    shutil.copy(RULES / GROWTH, directory / "config" / "rules")
    process.send_signal(signal.SIGHUP)
    query = urllib.parse.quote(f"min(timestamp({SEEN}))")
    while not (answers := get(url, f"/api/v1/query?query={query}")["result"]):
        time.sleep(1)
    first = float(answers[0]["value"][1])
    until = (first - DELAY_S) // GRID_S * GRID_S + DELAY_S - 1  # what is evaluated later Prometheus has recorded itself
    command = [
        tool("promtool"), "tsdb", "create-blocks-from", "rules", f"--start={began // GRID_S * GRID_S:.0f}", f"--end={until:.0f}",
        f"--url={url}", f"--eval-interval={GRID_S:.0f}s", f"--output-dir={directory / 'data'}", str(RULES / GROWTH),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    query = urllib.parse.quote(f"count_over_time({SEEN}[5m] @ {(began + until) / 2:.0f})")
    while not get(url, f"/api/v1/query?query={query}")["result"]:  # it looks for new blocks once a minute
        time.sleep(1)


def measurements(url: str, pid: int) -> dict[str, Any]:
    """What it holds, what questions take, how long rules take."""
    environ = {
        **os.environ,
        "OTEL_TTS_PROMETHEUS_URL": url,
        "OTEL_TTS_JAEGER_URL": "",
        "PYTHONPATH": str(ROOT),
        "PROMETHEUS_PID": str(pid),
        "OTEL_TTS_PROMETHEUS_TIMEOUT": "300",
        "OTEL_METRIC_EXPORT_INTERVAL": str(1000 * INTERVAL_S),
    }
    head = get(url, "/api/v1/status/tsdb")["headStats"]["numSeries"]
    results: dict[str, Any] = {"series": head}
    for part in ("questions", "pages"):
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale_readers", part]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        results |= json.loads(done.stdout.splitlines()[-1])
    status = Path(f"/proc/{pid}/status").read_text()
    results["prometheus MB"] = round(int(status.partition("VmRSS:")[2].split()[0]) / 1000)
    groups = get(url, "/api/v1/rules")["groups"]
    results["rules, s of their interval"] = {
        group["name"]: (round(group["evaluationTime"], 3), group["interval"]) for group in groups
    }
    return results


def get(url: str, path: str) -> Any:
    """The data of one of Prometheus's answers."""
    with urllib.request.urlopen(f"{url}{path}", timeout=60) as answer:  # noqa: S310 - the Prometheus of this benchmark
        return json.load(answer)["data"]


def timed(action: Callable[[], object]) -> float:
    """Seconds of the clock."""
    began = time.perf_counter()
    action()
    return round(time.perf_counter() - began, 2)


def tool(name: str) -> str:
    """The path of a program that `make tools` builds."""
    program = shutil.which(name, path=str(ROOT / ".tools" / "bin"))
    if program is None:
        raise SystemExit(f"{name} is not in .tools/bin: `make tools` builds it.")
    return program


@contextmanager
def prometheus(directory: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Prometheus of `make tools` with the repository's configuration and rules: its address and process."""
    from tests.ports import free_port

    port = free_port()
    shutil.copytree(ROOT / "deploy" / "prometheus", directory / "config")
    (directory / "config" / "rules" / GROWTH).unlink()
    command = [
        tool("prometheus"),
        f"--config.file={directory / 'config' / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-otlp-receiver",
        "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/-/ready", timeout=2).close()  # noqa: S310 - the Prometheus of this benchmark
                break
            except OSError:
                time.sleep(0.05)
        yield url, process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
