"""`verify` and `doctor` reach a service by TLS: here one that ends TLS in front of a real service, as a proxy or a mesh does."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_tts.cli import main
from tests.commands.conftest import Served
from tests.ports import free_port


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates that have signed themselves: `server` for speech.example, `local` for 127.0.0.1, and `client`."""
    directory = tmp_path_factory.mktemp("pem")
    for name, subject in {"server": "DNS:speech.example", "local": "IP:127.0.0.1", "client": "DNS:client"}.items():
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={subject}"]
        files = ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem")]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return directory


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until either end is closed."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@contextmanager
def ending_tls(pem: Path, name: str, target_port: int, *, wants_client: bool = False) -> Iterator[str]:
    """Takes TLS with this certificate, and passes on what is inside to a port: its ``HOST:PORT``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem / f"{name}.pem", pem / f"{name}.key")
    context.set_alpn_protocols(["h2"])
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pem / "client.pem")

    address: Queue[str] = Queue()
    stopped = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", target_port)
        try:
            await asyncio.gather(pass_on(reader, inside_writer), pass_on(inside_reader, writer))
        finally:
            writer.transport.abort()
            inside_writer.transport.abort()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context) as server:
            address.put(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await stopped.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield address.get(timeout=30)
    finally:
        loops[0].call_soon_threadsafe(stopped.set)
        thread.join()


def verify(served: Served, *options: object) -> Result:
    """A small verification of the service, with further options."""
    arguments = ("verify", "--iterations", "4", "--seed", "3", "--metrics-url", served.metrics_url, "--json", *options)
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def doctor(target: str, *options: object) -> dict[str, Any]:
    """What doctor says of the service; of all other hops nothing is there."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    addresses = [f"--{name}-url={nowhere}" for name in ("collector", "prometheus", "jaeger", "grafana")]
    arguments = ("doctor", "--json", "--target", target, "--patience", "0", *addresses, *options)
    hop: dict[str, Any] = json.loads(CliRunner().invoke(main, [str(argument) for argument in arguments]).stdout)["hops"][0]
    return hop


@pytest.mark.parametrize(("name", "options"), [("server", ("--servername", "speech.example")), ("local", ())])
def test_a_service_behind_tls(name: str, options: tuple[str, ...], served: Served, pem: Path) -> None:
    """The authority is given by a file; the name in the certificate is the host's, or the one that is given."""
    with ending_tls(pem, name, served.port) as target:
        result = verify(served, "--target", target, "--cacert", pem / f"{name}.pem", *options)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["exact"] is True
        hop = doctor(target, "--cacert", pem / f"{name}.pem", *options)
        assert hop["state"] == "ok", hop


def test_a_client_certificate(served: Served, pem: Path) -> None:
    """Where the other side wants one, nothing goes without."""
    with ending_tls(pem, "local", served.port, wants_client=True) as target:
        authority = ("--cacert", pem / "local.pem")
        hop = doctor(target, *authority, "--cert", pem / "client.pem", "--key", pem / "client.key")
        assert hop["state"] == "ok", hop
        assert doctor(target, *authority)["state"] == "broken"


@pytest.mark.parametrize(
    "options",
    [("--tls",), ("--cacert", "client.pem"), ("--cacert", "local.pem", "--servername", "another.example")],
    ids=["the machine's authorities", "another authority", "another name"],
)
def test_what_is_not_trusted_is_not_talked_to(options: tuple[str, ...], served: Served, pem: Path) -> None:
    """The certificate is checked: against the authorities, and for the name. The message says what to look at."""
    with ending_tls(pem, "local", served.port) as target:
        chosen = [str(pem / option) if option.endswith(".pem") else option for option in options]
        hop = doctor(target, *chosen)
        assert hop["state"] == "broken"
        assert "does not answer by TLS (UNAVAILABLE" in hop["message"]
        assert "--cacert" in hop["remedy"]
        result = verify(served, "--target", target, *chosen)
        assert result.exit_code == 1
        assert f"No speech service answers at {target} by TLS (UNAVAILABLE" in result.stderr


def test_options_that_cannot_be_used(served: Served, pem: Path, tmp_path: Path) -> None:
    """Half a pair, and a file that is no certificate, are refused before anything is sent."""
    (tmp_path / "text.pem").write_text("no certificate")
    for options, words in (
        (("--cert", pem / "client.pem"), "--cert and --key go together"),
        (("--key", pem / "client.key"), "--cert and --key go together"),
        (("--cacert", tmp_path / "text.pem"), "it takes a file in PEM"),
        (("--cacert", tmp_path / "none.pem"), "does not exist"),
    ):
        result = verify(served, "--target", served.target, *options)
        assert result.exit_code == 2
        assert words in result.stderr
