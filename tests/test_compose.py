"""docker-compose.yml, as real Compose resolves it: every name, port and file that one part counts on is there in another."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import compose
import promql_parser
import pytest
import yaml

from otel_tts import promql
from otel_tts.cli import SUBCOMMANDS
from otel_tts.semconv import METRICS
from otel_tts.service.config import ServiceConfig
from otel_tts.settings import LiveSettings, Settings
from otel_tts.version import __version__
from tests.scale.cluster import PROMOTED
from tools.programs import PROGRAMS, SCALE, Module

ROOT = Path(__file__).parents[1]
COMPOSE = Path(compose.__file__).with_name("docker-compose")
DEFAULT = {"tts", "collector", "prometheus", "jaeger", "grafana", "live"}
SCALED = {
    *(f"{part}-{number}" for part in ("gateway", "collector", "jaeger") for number in (1, 2)),
    *(f"{part}-{number}" for part in ("thanos-receive", "cassandra") for number in (1, 2, 3)),
    "thanos-query",
    "thanos-ruler",
}
PROFILES = {"mlflow": {"mlflow", "report"}, "alerting": {"alertmanager"}, "redis": {"redis"}, "scaled": SCALED}
COPIED = ("docker-compose.yml", "Dockerfile", ".dockerignore", "collector", "dashboards", "deploy")
EVERYWHERE = ("", "0.0.0.0", "[::]")
ADDRESS = re.compile(r"(?<![\w.:/-])(?:\w+://)?(?:[^\s/@,]*@)?([a-zA-Z][\w.-]*|\d+(?:\.\d+){3}|\[::1?\])?:(\d{2,5})(?![\w.])")

Service = Mapping[str, Any]


def compose_config(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What real Compose says of the file below ``root``, without any variable of the developer's."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return subprocess.run(
        [COMPOSE, "--project-directory", root, "--file", root / "docker-compose.yml", *arguments, "config", "--format", "json"],
        env={**inherited, "GRAFANA_ADMIN_PASSWORD": "chosen", **environ},
        capture_output=True,
        text=True,
    )


@dataclass(frozen=True)
class Stack:
    """The resolved file, with all profiles on."""

    root: Path
    services: Mapping[str, Service]

    @classmethod
    def at(cls, root: Path, **environ: str) -> Stack:
        """As it stands below ``root``."""
        resolved = compose_config(root, "--profile", "*", **environ)
        assert resolved.returncode == 0, resolved.stderr
        return cls(root, json.loads(resolved.stdout)["services"])

    def names(self, name: str) -> set[str]:
        """What a service is called by others: its own name, and those that it shares with the rest of its tier."""
        network = (self.services[name].get("networks") or {}).get("default") or {}
        return {name, *network.get("aliases", ())}

    def called(self, host: str) -> list[str]:
        """The services that a name stands for."""
        return [name for name in self.services if host in self.names(name)]

    def environ(self, name: str) -> dict[str, str]:
        """The environment of a service."""
        return {key: value or "" for key, value in (self.services[name].get("environment") or {}).items()}

    def mounted(self, name: str) -> Iterator[tuple[Path, str]]:
        """What is mounted into a service from the checkout, and where."""
        for volume in self.services[name].get("volumes", ()):
            if volume["type"] == "bind":
                yield Path(volume["source"]), volume["target"]

    def files(self, name: str) -> dict[str, Path]:
        """Every file mounted into a service by its path in there; one that is mounted over another hides it."""
        files: dict[str, Path] = {}
        for source, target in sorted(self.mounted(name), key=lambda mount: len(mount[1])):
            if source.is_dir():
                files |= {f"{target}/{path.relative_to(source)}": path for path in sorted(source.rglob("*")) if path.is_file()}
            elif source.exists():
                files[target] = source
        return files

    def documents(self, name: str) -> Iterator[tuple[str, Any]]:
        """Every YAML file mounted into a service, by its path in there, parsed, with the service's environment put in."""
        for target, path in self.files(name).items():
            if path.suffix in (".yml", ".yaml"):
                for document in yaml.safe_load_all(expanded(path.read_text("utf-8"), self.environ(name))):
                    yield target, document

    def document(self, name: str, file: str) -> Any:
        """One of them, by its name."""
        return next(document for target, document in self.documents(name) if target.endswith(f"/{file}"))


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """A configuration as the Collector, Jaeger and Grafana read it: `${env:NAME:-default}`, `${NAME}` and `$NAME`; `$$` is a dollar."""

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["bare"]
        return "$" if not name else environ.get(name) or match["default"] or ""

    return re.sub(
        r"\$(?:\$|\{(?:env:)?(?P<braced>[A-Z_][A-Z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bare>[A-Z][A-Z0-9_]*))", value, text
    )


def scalars(document: Any) -> Iterator[str]:
    """Every string in a parsed document, keys left out."""
    match document:
        case dict():
            for item in document.values():
                yield from scalars(item)
        case list():
            for item in document:
                yield from scalars(item)
        case str():
            yield document


def listening(endpoint: str) -> set[int]:
    """The port of an address, where it is open to other containers."""
    host, _, port = endpoint.rpartition(":")
    return {int(port)} if host in EVERYWHERE else set()


def option(service: Service, name: str) -> str:
    """The value of an option ``--name=value`` in a service's command."""
    return next(word.partition("=")[2] for word in service["command"] if word.startswith(f"--{name}="))


def collector_ports(stack: Stack, name: str) -> set[int]:
    """Where a Collector or a gateway listens."""
    config = stack.document(name, "gateway.yaml" if name.startswith("gateway") else "config.yaml")
    protocols = [
        protocol for receiver in config["receivers"].values() for protocol in (receiver or {}).get("protocols", {}).values()
    ]
    parts = [part for part in (*protocols, *config["extensions"].values()) if "endpoint" in (part or {})]
    return set().union(*(listening(part["endpoint"]) for part in parts))


def jaeger_ports(stack: Stack, name: str) -> set[int]:
    """Where a Jaeger listens: its API, and its receivers."""
    config = stack.document(name, Path(option(stack.services[name], "config")).name)
    query = config["extensions"]["jaeger_query"]
    parts = [query["http"], query["grpc"], *config["receivers"]["otlp"]["protocols"].values()]
    return set().union(*(listening(part["endpoint"]) for part in parts))


def thanos_ports(stack: Stack, name: str) -> set[int]:
    """Where a part of Thanos listens."""
    words = [
        word for words in (stack.services[name].get("command"), stack.services[name].get("entrypoint")) for word in words or ()
    ]
    return set().union(*(listening(address) for address in re.findall(r"--[\w.-]*address=(\S+)", " ".join(words))))


def tts_ports(stack: Stack, _: str) -> set[int]:
    """Where the service listens, read as it reads it itself."""
    config, settings = ServiceConfig.load(stack.environ("tts")), Settings.load(stack.environ("tts"))
    return listening(f"{config.host}:{config.port}") | listening(f"{settings.prometheus_host}:{settings.prometheus_port}")


def live_ports(stack: Stack, _: str) -> set[int]:
    """Where the live dashboard listens."""
    settings = LiveSettings.load(stack.environ("live"))
    return listening(f"{settings.dashboard_host}:{settings.dashboard_port}")


SERVED: Mapping[str, Callable[[Stack, str], set[int]]] = {
    "tts": tts_ports,
    "live": live_ports,
    "collector": collector_ports,
    "gateway": collector_ports,
    "jaeger": jaeger_ports,
    "thanos-receive": thanos_ports,
    "thanos-query": thanos_ports,
    "thanos-ruler": thanos_ports,
    "cassandra": lambda *_: {9042, 7000},
    "prometheus": lambda *_: {9090},
    "alertmanager": lambda *_: {9093},
    "grafana": lambda stack, name: {int(stack.environ(name).get("GF_SERVER_HTTP_PORT", 3000))},
    "mlflow": lambda stack, name: listening(f"{option(stack.services[name], 'host')}:{option(stack.services[name], 'port')}"),
    "redis": lambda *_: {6379},
    "report": lambda *_: set(),
}
"""The ports that each service opens to the others, out of its own configuration; the images' defaults where there is none."""


# -- what can be wrong -------------------------------------------------------------------------------------------------------


def unpinned(stack: Stack) -> Iterator[str]:
    """Images without a version, also those that ours are built from."""
    for name, service in stack.services.items():
        images = [service["image"]]
        if build := service.get("build"):
            dockerfile = build.get("dockerfile_inline") or (stack.root / build.get("dockerfile", "Dockerfile")).read_text("utf-8")
            arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
            images += [expanded(image, arguments) for image in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)]
        for image in images:
            if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*", image):
                yield f"{name}: {image}"


def missing(stack: Stack) -> Iterator[str]:
    """Files and directories that are mounted and not there, or empty."""
    for name in stack.services:
        for source, _ in stack.mounted(name):
            if not source.exists() or (source.is_dir() and not any(path.is_file() for path in source.rglob("*"))):
                yield f"{name}: {source.relative_to(stack.root)}"


def unread(stack: Stack) -> Iterator[str]:
    """Paths of configuration that a command or a variable names and no mount brings."""
    for name, service in stack.services.items():
        words = " ".join((*map(str, service.get("command") or ()), *stack.environ(name).values()))
        for path in re.findall(r"(?<![\w.:/-])/etc/[\w./-]+", words):
            sources = [
                source / path.removeprefix(target).lstrip("/")
                for source, target in stack.mounted(name)
                if path.startswith(target)
            ]
            if not any(source.exists() for source in sources):
                yield f"{name}: {path}"


def unlimited(stack: Stack) -> Iterator[str]:
    """Services without a limit of memory."""
    return (name for name, service in stack.services.items() if not int(service.get("mem_limit", 0)))


def privileged(stack: Stack) -> Iterator[str]:
    """Services that run as root, or may become it."""
    for name, service in stack.services.items():
        hardened = service.get("cap_drop") == ["ALL"] and "no-new-privileges:true" in service.get("security_opt", ())
        if not hardened or service.get("user", "0").partition(":")[0] in ("0", "root"):
            yield name


def exposed(stack: Stack) -> Iterator[str]:
    """Ports that are published beyond this machine."""
    for name, service in stack.services.items():
        yield from (f"{name}: {port['published']}" for port in service.get("ports", ()) if port.get("host_ip") != "127.0.0.1")


def unserved(stack: Stack) -> Iterator[str]:
    """Addresses that nobody listens at: of published ports, health checks, variables, commands and configuration files."""
    for name, service in stack.services.items():
        words = [word for words in (service.get("command"), service.get("entrypoint")) for word in words or ()]
        ports = {(name, str(port["target"])) for port in service.get("ports", ())}
        ports |= {(name, str(port)) for port in service.get("expose", ())}
        texts = [*words, *stack.environ(name).values(), *service.get("healthcheck", {}).get("test", ())]
        texts += [text for _, document in stack.documents(name) for text in scalars(document)]
        for text in texts:
            own = text.replace("$$HOSTNAME", service.get("hostname", name))
            ports |= {(host or "127.0.0.1", port) for host, port in ADDRESS.findall(own)}
        for host, port in ports:
            members = [name] if host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]") else stack.called(host)
            if external(name, host, port):
                continue
            if not members or any(int(port) not in SERVED[member.rstrip("-123")](stack, member) for member in members):
                yield f"{name}: {host}:{port}"


def external(name: str, host: str, port: str) -> bool:
    """Links for a browser, which is not inside."""
    return (name, host, port) == ("live", "127.0.0.1", "3000")


def unhealthy(stack: Stack) -> Iterator[str]:
    """Services without a health check whose image has what it takes: a shell, or Python."""
    # Images from scratch, and a job that serves nothing.
    without = {"collector", "collector-1", "collector-2", "gateway-1", "gateway-2", "report"}
    checked = {name for name, service in stack.services.items() if service.get("healthcheck", {}).get("test")}
    return (name for name in stack.services if name not in checked | without)


def transient(stack: Stack) -> Iterator[str]:
    """Services whose data no named volume keeps."""
    keeps = {"collector", "prometheus", "jaeger", "grafana", "alertmanager", "mlflow", "report"}
    keeps |= {name for name in SCALED if name.startswith(("collector", "thanos-receive", "cassandra"))}
    for name in keeps:
        if not any(volume["type"] == "volume" and volume.get("source") for volume in stack.services[name].get("volumes", ())):
            yield name


def incapable(stack: Stack) -> Iterator[str]:
    """Images of ours that lack an extra which their command needs, or have another version than the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for name, service in stack.services.items():
        asked = set(filter(None, (service.get("build") or {}).get("args", {}).get("EXTRAS", "").split(",")))
        if not asked:
            continue
        command = service["command"][0] if service.get("command") else "serve"
        needed = {SUBCOMMANDS[command].extra} if command in SUBCOMMANDS else set()
        if not needed <= asked <= set(extras) or not service["image"].endswith(f":{__version__}"):
            yield f"{name}: {service['image']} with {','.join(sorted(asked))}"


CHECKS = (unpinned, missing, unread, unlimited, privileged, exposed, unserved, unhealthy, transient, incapable)


# -- the tests ---------------------------------------------------------------------------------------------------------------


@cache
def ours() -> Stack:
    """The file of this checkout."""
    return Stack.at(ROOT)


@pytest.mark.parametrize(
    "profiles", [(), *((name,) for name in PROFILES), tuple(PROFILES)], ids=lambda profiles: "+".join(profiles) or "default"
)
def test_every_profile_resolves(profiles: tuple[str, ...]) -> None:
    """Compose accepts the file with each profile, and it has the services that are meant."""
    resolved = compose_config(ROOT, *(word for name in profiles for word in ("--profile", name)))
    assert (resolved.returncode, resolved.stderr) == (0, "")
    assert set(json.loads(resolved.stdout)["services"]) == DEFAULT.union(*(PROFILES[name] for name in profiles))


def test_grafana_has_no_password_of_ours() -> None:
    """Without a password in the environment nothing starts, and the message says how to choose one; nobody gets in without."""
    resolved = compose_config(ROOT, GRAFANA_ADMIN_PASSWORD="")
    assert resolved.returncode != 0
    assert "GRAFANA_ADMIN_PASSWORD" in resolved.stderr
    assert "choose one" in resolved.stderr
    environ = ours().environ("grafana")
    assert (environ["GF_SECURITY_ADMIN_PASSWORD"], environ["GF_AUTH_ANONYMOUS_ENABLED"]) == ("chosen", "false")
    assert Stack.at(ROOT, GRAFANA_ANONYMOUS="true").environ("grafana")["GF_AUTH_ANONYMOUS_ENABLED"] == "true"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nothing_in_the_stack_is(check: Callable[[Stack], Iterator[str]]) -> None:
    """The whole stack, all profiles on, has none of the faults."""
    assert sorted(check(ours())) == []


def test_ports_are_opened_only_when_asked() -> None:
    """BIND opens all of them to the network, and nothing else does."""
    opened = Stack.at(ROOT, BIND="0.0.0.0")
    published = sorted(str(port["published"]) for service in opened.services.values() for port in service.get("ports", ()))
    assert sorted(fault.partition(": ")[2] for fault in exposed(opened)) == published
    assert {"50053", "8002", "9090", "3000", "8501", "5000", "9093"} <= set(published)


def test_what_docs_say_of_profiles_is_served() -> None:
    """The values that docs/deployment.md gives for use with a profile are addresses of that profile's services."""
    documented = {"TTS_CACHE_URL": "memory://,redis://redis:6379/0", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    docs = (ROOT / "docs/deployment.md").read_text("utf-8")
    assert [value for value in documented.values() if f"`{value}`" not in docs] == []
    stack = Stack.at(ROOT, **documented)
    assert sorted(unserved(stack)) == []
    assert [tier.kind for tier in ServiceConfig.load(stack.environ("tts")).cache] == ["memory", "redis"]
    assert stack.environ("live")["MLFLOW_TRACKING_URI"] == documented["MLFLOW_TRACKING_URI"]


def test_the_memory_that_docs_state() -> None:
    """docs/deployment.md says the sum of the limits, of the default services and of all."""
    limits = {name: int(service["mem_limit"]) / 2**30 for name, service in ours().services.items()}
    docs = (ROOT / "docs/deployment.md").read_text("utf-8")
    assert f"{sum(limits[name] for name in DEFAULT):g} GiB" in docs
    assert f"{sum(limits.values()):g} GiB" in docs


@pytest.mark.parametrize("name", sorted(PROGRAMS.keys() - {"collector"}))
def test_what_is_tested_is_what_compose_runs(name: str) -> None:
    """`make tools` builds each program in the version of the image; Jaeger's module counts its releases otherwise than its images."""
    program = PROGRAMS[name]()
    assert isinstance(program, Module)
    built = {"v1.76.0": "2.13.0"}[program.version] if name == "jaeger" else (program.name or program.version).removeprefix("v")
    service = ours().services[name]
    images = [
        service["image"],
        *re.findall(r"^FROM (\S+:\S+)$", service.get("build", {}).get("dockerfile_inline", ""), re.MULTILINE),
    ]
    assert {image.rpartition(":")[2].removeprefix("v") for image in images} == {built}


def test_the_collector_is_the_one_that_is_built() -> None:
    """The released distribution in Compose has the version of ours, which the end-to-end tests run."""
    version = yaml.safe_load((ROOT / "collector/builder.yaml").read_text("utf-8"))["dist"]["version"]
    build = ours().services["collector"]["build"]["dockerfile_inline"]
    assert f"opentelemetry-collector-contrib:{version}" in build
    assert ours().services["collector"]["image"].endswith(f":{version}")


def test_grafana_s_data_sources() -> None:
    """The uids that dashboards and links count on, and links between them that lead somewhere."""
    sources = {source["uid"]: source for source in ours().document("grafana", "datasources/otel-tts.yaml")["datasources"]}
    assert {uid: (source["type"], source["url"]) for uid, source in sources.items()} == {
        "prometheus": ("prometheus", "http://prometheus:9090"),
        "jaeger": ("jaeger", "http://jaeger:16686"),
        "tempo": ("tempo", None),
        "alertmanager": ("alertmanager", "http://alertmanager:9093"),
    }
    prometheus, jaeger, tempo, alertmanager = (
        sources[uid]["jsonData"] for uid in ("prometheus", "jaeger", "tempo", "alertmanager")
    )
    assert prometheus["exemplarTraceIdDestinations"] == [
        {"name": "trace_id", "datasourceUid": uid, "urlDisplayLabel": f"Trace in {uid.capitalize()}"}
        for uid in ("jaeger", "tempo")
    ]
    assert prometheus["timeInterval"] == f"{Settings.load({}).export_interval:g}s"
    assert jaeger["tracesToMetrics"]["datasourceUid"] == tempo["tracesToMetrics"]["datasourceUid"] == "prometheus"
    assert jaeger["nodeGraph"] == tempo["nodeGraph"] == {"enabled": True}
    assert alertmanager["handleGrafanaManagedAlerts"] is False
    (provider,) = ours().document("grafana", "dashboards/otel-tts.yaml")["providers"]
    assert provider["options"]["path"] in {target for _, target in ours().mounted("grafana")}


def test_links_from_traces_to_metrics_name_real_series() -> None:
    """Their queries parse, and every series and label in them is of the registry."""
    queries = ours().document("grafana", "datasources/otel-tts.yaml")["datasources"][1]["jsonData"]["tracesToMetrics"]["queries"]
    series = {f"{promql.series(metric)}{suffix}" for metric in METRICS for suffix in ("", "_bucket", "_count", "_sum")}
    labels = {promql.label(attribute) for metric in METRICS for attribute in metric.attributes} | {"le"}
    for query in queries:
        text = query["query"].replace("$__tags", 'service_name="x"').replace("$__rate_interval", "5m")
        promql_parser.parse(text)
        assert set(re.findall(r"\w+(?=\{)", text)) <= series
        assert {label for by in re.findall(r"by \(([^)]*)\)", text) for label in by.split(", ")} <= labels


def test_prometheus_runs_alike_in_compose_and_natively() -> None:
    """The same flags, but for where its files are and where it listens."""
    line = next(
        line for line in (ROOT / "deploy/native/Procfile").read_text("utf-8").splitlines() if line.startswith("prometheus:")
    )
    natively = {flag for flag in re.findall(r"--[\w.-]+(?:=\S+)?", line) if not re.match(r"--(config|storage|web\.listen)", flag)}
    in_compose = {flag for flag in ours().services["prometheus"]["command"] if not re.match(r"--(config|storage)", flag)}
    assert (
        natively
        == in_compose
        == {
            "--web.enable-otlp-receiver",
            "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
        }
    )


def test_the_dockerfile_copies_what_is_there() -> None:
    """What the image is built from is in the checkout and let through by .dockerignore, and it ends as a user without privileges."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = [word for line in lines if re.match(r"COPY (?!--from)", line) for word in line.split()[1:-1]]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert set(copied) == allowed
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert lines.index("USER 10001:10001") > max(number for number, line in enumerate(lines) if line.startswith(("RUN", "FROM")))
    assert {service["user"] for service in ours().services.values() if "otel-tts" in service["image"]} == {"10001:10001"}


MUTATIONS: list[tuple[Callable[[Stack], Iterator[str]], str, str, str, str]] = [
    (unpinned, "docker-compose.yml", "image: prom/prometheus:v3.14.0", "image: prom/prometheus", "prometheus: prom/prometheus"),
    (unpinned, "docker-compose.yml", "FROM busybox:1.37.0", "FROM busybox:latest", "collector: busybox:latest"),
    (unpinned, "Dockerfile", "python:3.13.11-slim", "python:slim", "tts: python:slim-bookworm"),
    (missing, "docker-compose.yml", "./deploy/jaeger:", "./deploy/jaegr:", "jaeger: deploy/jaegr"),
    (
        unread,
        "docker-compose.yml",
        "/etc/prometheus/prometheus.yml",
        "/etc/prometheus/config.yml",
        "prometheus: /etc/prometheus/config.yml",
    ),
    (unlimited, "docker-compose.yml", "    mem_limit: 128m\n", "", "alertmanager"),
    (privileged, "docker-compose.yml", '    user: "472:0"\n', "", "grafana"),
    (privileged, "docker-compose.yml", '    user: "65534:65534"', '    user: "0:0"', "prometheus"),
    (exposed, "docker-compose.yml", "${BIND:-127.0.0.1}:9090:9090", "9090:9090", "prometheus: 9090"),
    (
        unserved,
        "docker-compose.yml",
        "http://prometheus:9090/api/v1/otlp",
        "http://prometheus:9091/api/v1/otlp",
        "collector: prometheus:9091",
    ),
    (
        unserved,
        "docker-compose.yml",
        "OTEL_TTS_JAEGER_URL: ${JAEGER_URL:-http://jaeger:16686}",
        "OTEL_TTS_JAEGER_URL: ${JAEGER_URL:-http://jaegr:16686}",
        "live: jaegr:16686",
    ),
    (unserved, "docker-compose.yml", "http://collector:4318", "http://collector:4319", "tts: collector:4319"),
    (unserved, "docker-compose.yml", "      OTLP_BIND: 0.0.0.0\n", "", "tts: collector:4318"),
    (unserved, "docker-compose.yml", "      TTS_HOST: 0.0.0.0\n", "", "tts: tts:50053"),
    (unserved, "docker-compose.yml", "127.0.0.1:8501/_stcore", "127.0.0.1:8502/_stcore", "live: 127.0.0.1:8502"),
    (
        unserved,
        "docker-compose.yml",
        "JAEGER_URL: ${JAEGER_URL:-http://jaeger:16686}\n      TEMPO",
        "JAEGER_URL: ${JAEGER_URL:-http://jaeger:16687}\n      TEMPO",
        "grafana: jaeger:16687",
    ),
    (
        unserved,
        "docker-compose.yml",
        "      - ./deploy/prometheus/alertmanagers.compose.yml:/etc/prometheus/alertmanagers.yml:ro\n",
        "",
        "prometheus: 127.0.0.1:9093",
    ),
    (
        unserved,
        "deploy/prometheus/alertmanagers.compose.yml",
        "alertmanager:9093",
        "alertmanager:9094",
        "prometheus: alertmanager:9094",
    ),
    (unserved, "docker-compose.yml", "JAEGER_BIND: 0.0.0.0", "JAEGER_BIND: 127.0.0.1", "collector: jaeger:14318"),
    (
        unserved,
        "deploy/grafana/provisioning/datasources/otel-tts.yaml",
        "$PROMETHEUS_URL",
        "http://prom:9090",
        "grafana: prom:9090",
    ),
    (unserved, "collector/config.yaml", "HEALTH_PORT:-13133", "HEALTH_PORT:-13134", "collector: collector:13133"),
    (unserved, "docker-compose.yml", "--port=5000", "--port=5001", "report: mlflow:5000"),
    (unhealthy, "docker-compose.yml", "test: [CMD, redis-cli, ping]", "disable: true", "redis"),
    (transient, "docker-compose.yml", "      - jaeger-data:/var/lib/jaeger/data\n", "", "jaeger"),
    (
        unserved,
        "docker-compose.yml",
        '"thanos-receive-3:10901"]',
        '"thanos-receive-4:10901"]',
        "thanos-receive-1: thanos-receive-4:10901",
    ),
    (
        unserved,
        "docker-compose.yml",
        "--query=http://thanos-query:10902",
        "--query=http://thanos-query:9090",
        "thanos-ruler: thanos-query:9090",
    ),
    (unserved, "docker-compose.yml", "aliases: [jaegers]", "aliases: [jaeger]", "collector-2: jaegers:14318"),
    (transient, "docker-compose.yml", "    volumes: [cassandra-2-data:/var/lib/cassandra]\n", "    volumes: []\n", "cassandra-2"),
    (privileged, "docker-compose.yml", '    user: "999:999"\n', "", "cassandra-1"),
    (
        unread,
        "docker-compose.yml",
        "--config=/etc/otelcol/exact-endpoint",
        "--config=/etc/otelcol/exact",
        "collector-1: /etc/otelcol/exact.yaml",
    ),
    (incapable, "docker-compose.yml", 'EXTRAS: "live,report"', 'EXTRAS: "report"', "live: otel-tts-readers:0.1.0 with report"),
]


@pytest.mark.parametrize(
    ("check", "file", "old", "new", "fault"), MUTATIONS, ids=[f"{check.__name__}-{fault}" for check, _, _, _, fault in MUTATIONS]
)
def test_a_fault_is_found(
    check: Callable[[Stack], Iterator[str]], file: str, old: str, new: str, fault: str, tmp_path: Path
) -> None:
    """Each check names the fault in a copy that has it."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    text = (tmp_path / file).read_text("utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1), "utf-8")
    assert fault in set(check(Stack.at(tmp_path)))


# -- the profile `scaled` ----------------------------------------------------------------------------------------------------


def scaled() -> Stack:
    """The file as `deploy/scaled.env` has it."""
    resolved = compose_config(ROOT, "--env-file", str(ROOT / "deploy" / "scaled.env"))
    assert resolved.returncode == 0, resolved.stderr
    return Stack(ROOT, json.loads(resolved.stdout)["services"])


def test_scaled_takes_the_place_of_the_single_parts() -> None:
    """Of one Collector, Prometheus and Jaeger none runs; services and readers know the tiers, and every address is served."""
    stack = scaled()
    assert set(stack.services) == DEFAULT | SCALED
    assert {name for name, service in stack.services.items() if service.get("scale") == 0} == {
        "collector",
        "prometheus",
        "jaeger",
    }
    assert stack.environ("tts")["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://gateways:4318"
    assert stack.environ("live")["OTEL_TTS_PROMETHEUS_STORES_AWAY"] == "1"
    singles = re.compile(r"//(collector|prometheus|jaeger):")
    for name in ("tts", "live", "grafana"):
        assert not [value for value in stack.environ(name).values() if singles.search(value)]
    assert [fault for fault in unserved(stack) if "alertmanager" not in fault] == []


def test_members_of_a_tier_share_a_name_and_no_volume() -> None:
    """So that a name stands for all of them, and each keeps what it keeps."""
    stack = scaled()
    tiers = {"gateways": 2, "collectors": 2, "receives": 3, "jaegers": 2}
    assert {alias: len(stack.called(alias)) for alias in tiers} == tiers
    volumes = [
        volume["source"] for name in SCALED for volume in stack.services[name].get("volumes", ()) if volume["type"] == "volume"
    ]
    assert len(volumes) == len(set(volumes)) == 8


def test_scaled_is_what_the_tests_run() -> None:
    """Thanos and Cassandra in the versions of `make tools-scale`, and receives that promote what Prometheus does."""
    stack = scaled()
    thanos, cassandra = SCALE["thanos"](), SCALE["cassandra"]()
    assert stack.services["thanos-query"]["image"] == f"otel-tts-thanos:{thanos.version.removeprefix('v')}"
    assert f"quay.io/thanos/thanos:{thanos.version}\n" in stack.services["thanos-query"]["build"]["dockerfile_inline"]
    assert stack.services["cassandra-1"]["image"] == f"cassandra:{cassandra.version}"
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    command = " ".join(stack.services["thanos-receive-1"]["entrypoint"])
    promoted = re.findall(r"--receive.otlp-promote-resource-attributes=(\S+)", command)
    assert sorted(promoted) == sorted(prometheus["otlp"]["promote_resource_attributes"])
    assert sorted(promoted) == sorted(PROMOTED)


def test_the_memory_that_docs_state_of_scaled() -> None:
    """docs/scaling.md says the sum of the limits of what runs."""
    limits = [int(service["mem_limit"]) / 2**30 for service in scaled().services.values() if service.get("scale") != 0]
    assert f"{sum(limits):g} GiB" in (ROOT / "docs/scaling.md").read_text("utf-8")
