"""Builds the programs that the end-to-end tests run, and links them into .tools/bin: `make tools`.

Each is built from one version of its Go module, which Go verifies, and kept in a cache outside the clone
(${XDG_CACHE_HOME:-~/.cache}/otel-tts/tools) under its version and a hash of everything that decides what comes out. A second run,
in this clone or another, takes what is there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".tools" / "bin"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tts" / "tools"
COMPILED = CACHE / "compiled"
"""Go's compiled packages: gigabytes that the programs share while they are built, and of which none is needed afterwards."""
KEPT = re.compile(r".+-\d[\w.]*-[0-9a-f]{12}")
"""The name of what is kept, see `cached`."""
KEPT_S = 30 * 24 * 3600  # seconds that a program stays which no clone asks for
GO = (1, 26)  # what the newest of the modules asks for

NO_UI = "<!doctype html><title>Alertmanager</title><p>This build has an API and no pages: its module holds none.</p>"


@dataclass(frozen=True)
class Module:
    """A Go module with commands to build. It is built as its own release is: in its source tree, by its own go.mod and go.sum.

    files: what the release's build generates and the module lacks. stamp: the variable of the version that the program says it has.
    """

    path: str
    version: str
    commands: Sequence[str]
    tags: str = ""
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    stamp: str = "github.com/prometheus/common/version.Version"

    def build(self, into: Path, work: Path, go: Go) -> None:
        """Build the commands into a directory.

        Args:
            into: the directory.
            work: an empty directory.
            go: the toolchain.
        """
        source = _copied(self.path, self.version, work, go)
        for name, content in self.files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(content)
        named = f"-s -w -X {self.stamp}={self.name or self.version}"
        packages = [f"./cmd/{command}" for command in self.commands]
        go("build", "-trimpath", f"-tags={self.tags}", f"-ldflags={named}", "-o", f"{into}/", *packages, cwd=source)


@dataclass(frozen=True)
class Collector:
    """A Collector with the components that a manifest names, by the official builder of the same release."""

    version: str
    manifest: str
    commands: Sequence[str] = ("otelcol-tts",)

    def build(self, into: Path, work: Path, go: Go) -> None:
        """Build it into a directory.

        Args:
            into: the directory.
            work: an empty directory.
            go: the toolchain.
        """
        go("install", f"go.opentelemetry.io/collector/cmd/builder@v{self.version}", cwd=work, GOBIN=str(work))
        (work / "builder.yaml").write_text(self.manifest)
        go.run([str(work / "builder"), "--config=builder.yaml"], cwd=work)
        shutil.move(work / "build" / self.commands[0], into)


@dataclass(frozen=True)
class Kubernetes:
    """The API server and its store. Its module's go.mod looks for parts in folders that are modules of their own, of the same release."""

    version: str
    commands: Sequence[str] = ("kube-apiserver", "etcd")
    path: str = "k8s.io/kubernetes"

    def build(self, into: Path, work: Path, go: Go) -> None:
        """Build both into a directory.

        Args:
            into: the directory.
            work: an empty directory.
            go: the toolchain.
        """
        source = _copied(self.path, self.version, work, go)
        parts = self.version.replace("v1.", "v0.", 1)
        definition = source / "go.mod"
        definition.write_text(re.sub(r"=> \./staging/src/(\S+)", rf"=> \1 {parts}", definition.read_text()))
        stamp = f"-s -w -X k8s.io/component-base/version.gitVersion={self.version}"
        for command, package in zip(self.commands, ("./cmd/kube-apiserver", "go.etcd.io/etcd/server/v3"), strict=True):
            go("build", "-mod=mod", "-trimpath", f"-ldflags={stamp}", "-o", str(into / command), package, cwd=source)


def _copied(path: str, version: str, work: Path, go: Go) -> Path:
    """The source tree of a module, in which files can be written."""
    module = json.loads(go("mod", "download", "-json", f"{path}@{version}", cwd=work))
    source = work / "source"
    shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile)  # in the module cache all is read-only
    for directory in (source, *filter(Path.is_dir, source.rglob("*"))):
        directory.chmod(0o755)
    return source


@dataclass(frozen=True)
class Files:
    """Files of a Go module, as they are."""

    path: str
    version: str
    directory: str
    commands: Sequence[str]

    def build(self, into: Path, work: Path, go: Go) -> None:
        """Copy them into a directory.

        Args:
            into: the directory.
            work: an empty directory.
            go: the toolchain.
        """
        module = json.loads(go("mod", "download", "-json", f"{self.path}@{self.version}", cwd=work))
        for name in self.commands:
            shutil.copyfile(Path(module["Dir"], self.directory, name), into / name)


@dataclass(frozen=True)
class Cassandra:
    """Cassandra and the libraries that it runs on, by Maven, beside the script that starts a node."""

    version: str
    pom: str
    script: str
    commands: Sequence[str] = ("cassandra",)

    def build(self, into: Path, work: Path, go: Go) -> None:
        """Fetch it into a directory.

        Args:
            into: the directory.
            work: an empty directory.
            go: the toolchain.

        Raises:
            BuildError: it cannot be built.
        """
        for program in ("mvn", "java"):
            if not shutil.which(program):
                raise BuildError(f"Cassandra needs Maven and Java 17, and there is no {program} on PATH: apt install maven.")
        (work / "pom.xml").write_text(self.pom)
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={into / 'lib'}", "-DincludeScope=runtime"]
        go.run(["mvn", "--quiet", "--batch-mode", *copy], cwd=work)
        (into / "cassandra").write_text(self.script)
        (into / "cassandra").chmod(0o755)


def cassandra() -> Cassandra:
    """Cassandra in the version of tools/cassandra/pom.xml."""
    directory = ROOT / "tools" / "cassandra"
    pom = (directory / "pom.xml").read_text()
    version = re.findall(r"<version>(\S+)</version>", pom)[-1]
    return Cassandra(version, pom, (directory / "cassandra").read_text())


def collector(manifest_name: str = "builder.yaml") -> Collector:
    """The Collector that a manifest in collector/ describes, in the manifest's version.

    Args:
        manifest_name: of the file in collector/.

    Raises:
        BuildError: it cannot be built.
    """
    path = ROOT / "collector" / manifest_name
    manifest = path.read_text()
    name, version = (re.search(rf"^  {key}: (\S+)$", manifest, re.MULTILINE) for key in ("name", "version"))
    if name is None or version is None:
        raise BuildError(f"{path} names no distribution, or no version of it.")
    return Collector(version[1], manifest, (name[1],))


Program = Module | Collector | Cassandra | Files | Kubernetes
PROGRAMS: Mapping[str, Callable[[], Program]] = {
    "collector": collector,
    "prometheus": lambda: Module(
        "github.com/prometheus/prometheus", "v0.314.0", ("prometheus", "promtool"), "remove_all_sd,netgo", "3.14.0"
    ),
    "alertmanager": lambda: Module(
        "github.com/prometheus/alertmanager",
        "v0.34.2",
        ("alertmanager", "amtool"),
        "netgo",
        "0.34.2",
        {"ui/app/dist/index.html": NO_UI},
    ),
    # Its v1.76.0 and Jaeger 2.13.0 are the same release: cmd/jaeger is Jaeger 2.
    "jaeger": lambda: Module("github.com/jaegertracing/jaeger", "v1.76.0", ("jaeger",)),
}
# The definitions of the Prometheus operator's resources, which the chart makes.
CRDS = Files(
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "example/prometheus-operator-crd",
    ("monitoring.coreos.com_prometheusrules.yaml", "monitoring.coreos.com_servicemonitors.yaml"),
)
SCALE: Mapping[str, Callable[[], Program]] = {
    "gateway": lambda: collector("gateway-builder.yaml"),
    "thanos": lambda: Module("github.com/thanos-io/thanos", "v0.42.4", ("thanos",), "netgo,slicelabels", "0.42.4"),
    "cassandra": cassandra,
}
"""What only the tests of several machines' parts run: `make tools-scale`."""
APISERVER = Kubernetes("v1.36.3")
"""What checks the chart as a cluster does: `make test-apiserver`."""


class Go:
    """The Go toolchain, and what else builds. What it says goes to a log; people see how long it has been at it.

    Args:
        log: the file for what it prints.
    """

    def __init__(self, log: Path) -> None:
        self._log = log

    def __call__(self, *arguments: str, cwd: Path, **environ: str) -> str:
        """Run `go`. Raises BuildError when it fails."""
        return self.run(["go", *arguments], cwd, **environ)

    def run(self, command: Sequence[str], cwd: Path, **environ: str) -> str:
        """Run a command, and give what it prints.

        Args:
            command: the program and its arguments.
            cwd: the directory in which it runs.
            environ: environment variables.

        Raises:
            BuildError: it failed; with what it said last.
        """
        environ = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOCACHE": str(COMPILED), **environ}
        began, next_sign = time.monotonic(), 60
        with self._log.open("a+") as log, tempfile.TemporaryFile("w+") as printed:
            process = subprocess.Popen(command, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=printed, stderr=log)
            while process.poll() is None:
                time.sleep(0.2)
                if time.monotonic() - began > next_sign:
                    say(f"  ... {next_sign} s")
                    next_sign += 60
            if process.returncode:
                raise BuildError(f"{' '.join(command)} failed:\n{self._log.read_text()[-2000:]}")
            printed.seek(0)
            return printed.read()


class BuildError(Exception):
    """A program cannot be built; the message is for people."""


def key(program: Program) -> str:
    """What decides what comes out, as part of a file's name.

    Args:
        program: the program.
    """
    what = repr((program, go_version(), os.uname().sysname, os.uname().machine))
    return f"{program.version.removeprefix('v')}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def go_version() -> tuple[int, ...]:
    """The version of the Go toolchain; empty without one."""
    if not shutil.which("go"):
        return ()
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


@contextmanager
def alone() -> Iterator[None]:
    """One build at a time: two clones share the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(name: str, program: Program) -> Path:
    """Where a program is kept once it is built.

    Args:
        name: of the program.
        program: the program.
    """
    return CACHE / f"{name}-{key(program)}"


def tidy() -> None:
    """Remove what no clone needs: what builds have left, ended ones too, and programs that nobody has asked for in a month.

    Only the holder of the lock builds, so that nothing under way is met.
    """
    for path in filter(Path.is_dir, CACHE.iterdir()):
        if not KEPT.fullmatch(path.name) or time.time() - path.stat().st_mtime > KEPT_S:
            shutil.rmtree(path, ignore_errors=True)


def provide(name: str, program: Program) -> None:
    """Have a program's commands in .tools/bin.

    Args:
        name: of the program.
        program: the program.
    """
    kept = cached(name, program)
    if not kept.exists():
        say(f"{name} {program.version}: building; minutes the first time, seconds from then on ...")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{name}-") as work:
            made = Path(work, "made")
            made.mkdir()
            program.build(made, Path(work), Go(Path(work, "log")))
            made.rename(kept)
        say(f"{name} {program.version}: built in {time.monotonic() - began:.0f} s")
    os.utime(kept)  # when somebody asked for it last, see `tidy`
    BIN.mkdir(parents=True, exist_ok=True)
    for command in program.commands:
        link = BIN / command
        link.unlink(missing_ok=True)
        link.symlink_to(kept / command)
    say(f"{name} {program.version}: {', '.join(program.commands)}")


def say(line: str) -> None:
    """Tell people.

    Args:
        line: for people.
    """
    print(line, flush=True)


def main() -> None:
    """Provide all programs, or those that are named."""
    programs: Mapping[str, Callable[[], Program]] = {**PROGRAMS, "crds": lambda: CRDS, **SCALE, "apiserver": lambda: APISERVER}
    parser = argparse.ArgumentParser(description="Build the programs that the end-to-end tests run, into .tools/bin.")
    help_of_names = f"of {', '.join(programs)}; all of the end-to-end tests' ({', '.join(PROGRAMS)}) and crds when none is named"
    parser.add_argument("names", nargs="*", metavar="NAME", help=help_of_names)
    parser.add_argument("--cached", action="store_true", help="build nothing; fail when one was never built here")
    arguments = parser.parse_args()
    names = arguments.names or [*PROGRAMS, "crds"]
    if unknown := set(names) - set(programs):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(programs)}")
    if (version := go_version()) < GO:
        installed = f"Go {'.'.join(map(str, version))}, which is older" if version else "none on PATH"
        raise SystemExit(
            f"otel-tts: {', '.join(names)} are built with Go {'.'.join(map(str, GO))} or later, and there is {installed}. "
            "Install it (https://go.dev/doc/install) and say `make tools` again. Without these programs the end-to-end tests are skipped."
        )
    if arguments.cached and (missing := [name for name in names if not cached(name, programs[name]()).exists()]):
        raise SystemExit(f"otel-tts: never built here: {', '.join(missing)}.")
    try:
        with alone():
            try:
                for name in names:
                    provide(name, programs[name]())
            finally:
                tidy()
    except BuildError as error:
        raise SystemExit(f"otel-tts: {error}") from None


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
