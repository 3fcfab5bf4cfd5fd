"""Replicas: the pull endpoints of all processes of a service, read as if they were one.

A name that resolves to several addresses, as a headless Service of Kubernetes does, means all of them: each is asked by its own address.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from itertools import groupby
from urllib.parse import urlsplit, urlunsplit

from otel_tts import promql
from otel_tts.commands.verify.scrape import NoMetricsError, Scrape, read
from otel_tts.semconv import METRICS, Instrument

_LOWEST = {promql.series(metric) for metric in METRICS if metric.instrument is Instrument.GAUGE}
"""What is not added up: of a gauge, the lowest of all processes is told."""
_SCHEMES = ("dns:///", "dns:", "ipv4:", "ipv6:")


def own_urls(target: str, port: int) -> list[str]:
    """Where the pull endpoints are by default: on each host of the target.

    Args:
        target: a target of gRPC: ``HOST:PORT``, ``dns:///HOST:PORT``, or ``ipv4:`` with several, commas between.
        port: of the endpoints.
    """
    for scheme in _SCHEMES:
        target = target.removeprefix(scheme)
    hosts = dict.fromkeys(address.strip().rpartition(":")[0] or address.strip() for address in target.split(","))
    return [f"http://{host}:{port}/metrics" for host in hosts]


def read_all(urls: Sequence[str]) -> Scrape:
    """Read the endpoints of all replicas. Who is found at two addresses counts once.

    Args:
        urls: of endpoints; the host of each may have several addresses.

    Raises:
        NoMetricsError: one of them does not answer, or something else does.
    """
    scrapes: list[Scrape] = []
    for url in urls:
        for scrape in _of_all(url):
            if not scrape.processes() or scrape.processes() not in [other.processes() for other in scrapes]:
                scrapes.append(scrape)
    return together(scrapes)


def together(scrapes: Sequence[Scrape]) -> Scrape:
    """The series of several processes as if they were of one: counts are added up; of gauges the lowest is taken.

    Args:
        scrapes: one of each process.
    """
    if len(scrapes) == 1:
        return scrapes[0]
    values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for scrape in scrapes:
        for key, value in scrape.values.items():
            if key not in values:
                values[key] = value
            else:
                values[key] = min(values[key], value) if key[0] in _LOWEST else values[key] + value
    return Scrape(values)


def _of_all(url: str) -> Iterable[Scrape]:
    """What each address of a URL's host answers; addresses of a family (IPv4, IPv6) in which nobody answers do not matter."""
    families = _addresses(url)
    if sum(map(len, families)) < 2:
        return [read(url)]
    refusals: list[NoMetricsError] = []
    answers: list[Scrape] = []
    for addresses in families:
        before = len(refusals)
        scrapes = []
        for address in addresses:
            try:
                scrapes.append(read(address))
            except NoMetricsError as error:
                refusals.append(NoMetricsError(f"of its addresses, {urlsplit(address).netloc}: {error}"))
        if scrapes and len(refusals) > before:
            raise refusals[before]
        answers += scrapes
    if not answers:
        raise refusals[0]
    return answers


def _addresses(url: str) -> list[list[str]]:
    """The URL with each address of its host in place of the name, by family. By TLS, and where the name is unknown here, there are none."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return []
    try:
        resolved = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError:
        return []  # a proxy may know it
    hosts = sorted({(family, str(address[0])) for family, _, _, _, address in resolved})
    return [
        [urlunsplit(parts._replace(netloc=f"{f'[{host}]' if ':' in host else host}:{parts.port or 80}")) for _, host in of_family]
        for _, of_family in groupby(hosts, key=lambda host: host[0])
    ]
