"""`otel-tts verify` of a service with several replicas: what all of them counted is what was sent, and a part is never taken for all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import semconv
from otel_tts.cli import main
from otel_tts.commands.verify import replicas
from otel_tts.commands.verify.replicas import own_urls, read_all, together
from otel_tts.commands.verify.scrape import NoMetricsError, Scrape, read
from tests.commands.conftest import Served, serving
from tests.ports import free_port

NAME = "tts-headless.internal"
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


class Replicas:
    """Three processes of one service. Their pull endpoints have one port and an address each, as pods do."""

    def __init__(self, processes: list[Served], metrics_port: int) -> None:
        self.target = "ipv4:" + ",".join(process.target for process in processes)
        self.metrics_port = metrics_port
        self.urls = [f"http://{host}:{metrics_port}/metrics" for host in HOSTS]
        self.url = f"http://{NAME}:{metrics_port}/metrics"

    def counted(self) -> list[float]:
        """The requests of each."""
        return [sum(read(url).amounts(semconv.SYNTHESIS_DURATION, ()).values()) for url in self.urls]

    def verify(self, *urls: str) -> Result:
        """What is said of them."""
        options = [option for url in urls for option in ("--metrics-url", url)]
        arguments = ["verify", "--iterations", "21", "--seed", "5", "--target", self.target, *options]
        return CliRunner().invoke(main, arguments, env={"COLUMNS": "200", "PROMETHEUS_PORT": str(self.metrics_port)})


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Three replicas, behind a balancer in the client."""
    port = free_port()
    with ExitStack() as closing:
        directories = [tmp_path_factory.mktemp("replica") / "data" for _ in HOSTS]
        processes = [
            closing.enter_context(serving(directory, 0, port, PROMETHEUS_HOST=host, OTEL_SERVICE_NAME="tts"))
            for host, directory in zip(HOSTS, directories, strict=True)
        ]
        yield Replicas(processes, port)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of `NAME`, as DNS would have them."""
    addresses, real = list(HOSTS), socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host == NAME:
            return [one for address in addresses for one in real(address, port, *args, **options)]
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return addresses


def test_each_address_is_given(three: Replicas) -> None:
    """Requests go to all of them, and what they counted together is exact."""
    before = three.counted()
    result = three.verify(*three.urls)
    assert result.exit_code == 0, result.output
    assert "counted 21 requests exactly" in result.output
    added = [now - then for then, now in zip(before, three.counted(), strict=True)]
    assert (sum(added), min(added) > 0) == (21, True)


def test_a_name_that_resolves_to_all_is_enough(three: Replicas, resolved: list[str]) -> None:
    """As that of a headless Service; the same address twice is one."""
    result = three.verify(three.url, three.urls[1])
    assert result.exit_code == 0, result.output
    assert "counted 21 requests exactly" in result.output


def test_a_part_of_them_is_not_taken_for_all(three: Replicas, resolved: list[str]) -> None:
    """Too little was counted, and what is said names the reason."""
    for result in (three.verify(*three.urls[:2]), three.verify(three.urls[0])):
        assert result.exit_code == 1
        assert "Different: " in result.output
        assert "If several replicas share the address: give --metrics-url for each" in " ".join(result.output.split())


def test_a_replica_that_does_not_answer_is_named(three: Replicas, resolved: list[str]) -> None:
    """No sum without it."""
    resolved.append("127.0.0.5")
    result = three.verify(three.url)
    assert result.exit_code == 1
    assert f"of its addresses, 127.0.0.5:{three.metrics_port}: it does not answer" in " ".join(result.output.split())


@contextmanager
def in_turn(urls: list[str]) -> Iterator[str]:
    """An address that leads to one of them at a time."""
    number = count()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = requests.get(urls[next(number) % len(urls)], timeout=10).content
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def test_an_address_that_leads_to_one_at_a_time_is_seen(three: Replicas) -> None:
    """Its counts are of this one and that one: never exact."""
    with in_turn(three.urls) as url:
        result = three.verify(url)
    assert result.exit_code == 1
    assert "give --metrics-url for each, or a name that resolves to all of them" in " ".join(result.output.split())


def test_families_without_anybody_do_not_matter(three: Replicas, resolved: list[str]) -> None:
    """A name with an address of IPv6 at which nobody listens is that of IPv4; where nobody answers at all, that is said."""
    resolved[:] = [HOSTS[0], "::1"]
    assert read_all([three.url]).processes() == read(three.urls[0]).processes()
    resolved[:] = ["127.0.0.6", "::1"]
    with pytest.raises(NoMetricsError, match="it does not answer"):
        read_all([three.url])


@pytest.mark.parametrize(
    ("target", "urls"),
    [
        ("tts:50053", ["http://tts:9464/metrics"]),
        ("dns:///tts.shop:50053", ["http://tts.shop:9464/metrics"]),
        ("[::1]:50053", ["http://[::1]:9464/metrics"]),
        ("ipv4:10.0.0.1:50053,10.0.0.2:50053", ["http://10.0.0.1:9464/metrics", "http://10.0.0.2:9464/metrics"]),
        ("ipv4:10.0.0.1:1,10.0.0.1:2", ["http://10.0.0.1:9464/metrics"]),
    ],
)
def test_endpoints_are_beside_the_target(target: str, urls: list[str]) -> None:
    """On each of its hosts."""
    assert own_urls(target, 9464) == urls


SERIES = ("tts_synthesis_duration_seconds_count", "tts_synthesis_active", "tts_provider_available")


@given(st.lists(st.dictionaries(st.sampled_from(SERIES), st.integers(0, 9)), min_size=1, max_size=4))
def test_together(processes: list[dict[str, int]]) -> None:
    """Counts and levels are added up, of gauges the lowest is told; each process stays known."""
    scrapes = [
        Scrape(
            {**{(name, frozenset()): float(n) for name, n in values.items()}, ("target_info", frozenset({("id", str(i))})): 1.0}
        )
        for i, values in enumerate(processes)
    ]
    whole = together(scrapes)
    assert len(whole.processes()) == len(processes)
    for name in SERIES:
        of_each = [values[name] for values in processes if name in values]
        combined = (min if name == SERIES[2] else sum)(of_each) if of_each else 0.0
        assert whole.value(name, frozenset()) == combined
    assert SERIES[2] in replicas._LOWEST
