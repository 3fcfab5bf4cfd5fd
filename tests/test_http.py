"""The HTTP client of the readers, against servers and proxies that are real."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts.http import Client, NoResponseError, TLSError, UnreachableError
from otel_tts.settings import DoctorSettings, PrometheusServer, SettingError, redact_url
from tests.ports import free_port

SECRET = "s3cret-token"
P = "OTEL_TTS_PROMETHEUS_"


@dataclass
class Asked:
    """What a server was asked: methods with targets, and headers; and what it answers."""

    lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    body: str = '{"status": "fine"}'
    location: str = ""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, Asked]]:
    """A server on this machine, over TLS where there is a context; a proxy too, for requests that name a whole URL."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.lines.append(f"{self.command} {self.path}")
            asked.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = asked.body.encode()
            self.send_response(asked.status)
            if asked.location:
                self.send_header("Location", asked.location)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client(url: str, **variables: str) -> Client:
    """A client of that server, set up by variables as a user sets it up."""
    return Client(PrometheusServer.load({f"{P}URL": url, **{f"{P}{name}": value for name, value in variables.items()}}))


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of certificates that have signed themselves: `server` for 127.0.0.1, `other` for another name, `client`."""
    directory = tmp_path_factory.mktemp("pem")
    for name, subject in (("server", "IP:127.0.0.1"), ("other", "DNS:elsewhere.example"), ("client", "DNS:client")):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        files = ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem")]
        subject_ = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={subject}"]
        subprocess.run([*command, *subject_, *files], check=True, capture_output=True)
    return directory


def tls(pem: Path, name: str = "server", *, wants_client: bool = False) -> ssl.SSLContext:
    """The TLS of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem / f"{name}.pem", pem / f"{name}.key")
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pem / "client.pem")
    return context


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of authorities or a proxy of the machine is none of a test's."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_headers_of_a_variable_and_of_a_file_that_changes(tmp_path: Path) -> None:
    """The variable is written as the OTLP exporter's; the file is read for every request, and goes before it."""
    file = tmp_path / "headers"
    file.write_text(f"# rotated each hour\nAuthorization: Bearer {SECRET}1\n")
    with serving() as (url, asked):
        one = client(url, HEADERS="X-Scope-OrgID=team%20a,authorization=old", HEADERS_FILE=str(file))
        assert one.request("GET", "/api", {"query": "a b"}).body == {"status": "fine"}
        file.write_text(f"Authorization: Bearer {SECRET}2\n")
        one.request("POST", "/api", body={"a": 1})
    assert asked.lines == ["GET /api?query=a+b", "POST /api"]
    assert [(sent["x-scope-orgid"], sent["authorization"]) for sent in asked.headers] == [
        ("team a", f"Bearer {SECRET}1"),
        ("team a", f"Bearer {SECRET}2"),
    ]


@pytest.mark.parametrize("content", [None, f"{SECRET}\n", f"Authorization = {SECRET}\n", b"\xff\xfe", f"A: {SECRET}\x07"])
def test_a_file_of_headers_that_cannot_be_used(tmp_path: Path, content: str | bytes | None) -> None:
    """Nothing is asked without the token; the message names variable and file, and nothing of what is in it."""
    file = tmp_path / "headers"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with serving() as (url, asked), pytest.raises(NoResponseError, match=f"{P}HEADERS_FILE") as raised:
        client(url, HEADERS_FILE=str(file)).request("GET", "/")
    assert (asked.lines, SECRET in str(raised.value)) == ([], False)


@given(value=st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip))
def test_headers_that_cannot_be_sent_stop_the_start_unseen(value: str) -> None:
    """Whatever stands in the variable, it is sent as a header or refused by its name, and the message never holds the value."""
    text = f"{SECRET}{value}"
    headers, message = None, ""
    try:
        headers = PrometheusServer.load({f"{P}HEADERS": text}).headers
    except SettingError as error:
        message = str(error)
    if headers is None:
        assert message.startswith(f"{P}HEADERS is not allowed")
    else:
        assert all(name and all(" " <= sign <= "~" or sign == "\t" for sign in sent) for name, sent in headers.fields.items())
    assert SECRET not in f"{message} {headers!r}"


def test_a_certificate_is_checked_against_the_authorities_given(pem: Path) -> None:
    """With the authority it answers; without it, with another one, or under another name, a sentence of its own says why."""
    with serving(tls(pem)) as (url, _):
        assert client(url, CERTIFICATE=str(pem / "server.pem")).request("GET", "/").ok
        for variables in ({}, {"CERTIFICATE": str(pem / "other.pem")}):
            with pytest.raises(TLSError, match=rf"certificate that is not accepted \(self.signed certificate\).*{P}CERTIFICATE"):
                client(url, **variables).request("GET", "/")
    with serving(tls(pem, "other")) as (url, _), pytest.raises(TLSError, match="Give the address by a name"):
        client(url, CERTIFICATE=str(pem / "other.pem")).request("GET", "/")


def test_a_server_that_wants_a_client_certificate(pem: Path) -> None:
    """With ours it answers; without, the message says which variables to set."""
    with serving(tls(pem, wants_client=True)) as (url, _):
        trusted = {"CERTIFICATE": str(pem / "server.pem")}
        ours = {"CLIENT_CERTIFICATE": str(pem / "client.pem"), "CLIENT_KEY": str(pem / "client.key")}
        assert client(url, **trusted, **ours).request("GET", "/").ok
        with pytest.raises(TLSError, match=rf"refuses the TLS connection.*{P}CLIENT_CERTIFICATE and {P}CLIENT_KEY"):
            client(url, **trusted).request("GET", "/")


def test_tls_where_there_is_none() -> None:
    """An address that begins with https:// of a server that speaks plain HTTP is said to be that."""
    with serving() as (url, _), pytest.raises(TLSError, match="does not speak TLS"):
        client(url.replace("http", "https", 1)).request("GET", "/")


def test_certificates_that_cannot_be_used(tmp_path: Path, pem: Path) -> None:
    """A file that is missing, empty, or whose key has a passphrase is named with its variable, and nobody is asked for anything."""
    (tmp_path / "empty").touch()
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes256", "-passout", f"pass:{SECRET}", "-in", str(pem / "client.key"), "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with serving() as (url, asked):
        for variables in (
            {"CERTIFICATE": str(tmp_path / "none")},
            {"CERTIFICATE": str(tmp_path / "empty")},
            {"CLIENT_CERTIFICATE": str(tmp_path / "none")},
            {"CLIENT_CERTIFICATE": str(pem / "client.pem"), "CLIENT_KEY": str(locked)},
        ):
            with pytest.raises(TLSError, match=f"{P}{next(iter(variables))} names .* which cannot be used"):
                client(url, **variables).request("GET", "/")
    assert asked.lines == []


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server elsewhere is asked through the environment's proxy, one of this machine or in NO_PROXY directly."""
    with serving() as (proxy, by_proxy), serving() as (direct, by_itself):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert client("http://prometheus.example").request("GET", "/a").ok
        assert client(direct).request("GET", "/b").ok
        monkeypatch.setenv("NO_PROXY", "prometheus.invalid")
        with pytest.raises(UnreachableError):
            client("http://prometheus.invalid").request("GET", "/c")
        assert (by_proxy.lines, by_itself.lines) == (["GET http://prometheus.example/a"], ["GET /b"])
    monkeypatch.setenv("HTTP_PROXY", f"http://me:{SECRET}@127.0.0.1:{free_port()}")
    with pytest.raises(NoResponseError, match="the proxy does not answer") as raised:
        client("http://prometheus.example").request("GET", "/a")
    assert SECRET not in str(raised.value)


def test_netrc_does_not_replace_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the user's .netrc is for other programs."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving() as (url, asked):
        client(url, HEADERS="Authorization=Bearer%20x").request("GET", "/")
        client(url.replace("://", f"://me:{SECRET}@")).request("GET", "/")
    assert [sent["authorization"].split()[0] for sent in asked.headers] == ["Bearer", "Basic"]


def test_a_redirect_is_not_followed() -> None:
    """Headers with tokens are for the address that was given; the other address is told without its password."""
    with serving() as (elsewhere, there), serving() as (url, asked):
        asked.status, asked.location = 302, elsewhere.replace("://", f"://me:{SECRET}@")
        response = client(url, HEADERS=f"X-Token={SECRET}").request("GET", "/")
    assert (response.status, response.location, there.lines) == (302, elsewhere, [])


def test_a_server_that_repeats_its_secrets() -> None:
    """What a message shows of a response has neither the token, nor the password, nor addresses with one."""
    with serving() as (url, asked):
        asked.status = 500
        asked.body = json.dumps({"error": f"Bearer {SECRET}, {SECRET}, pass%word, http://a:b@host failed"})
        one = client(url.replace("://", "://me:pass%25word@"), HEADERS=f"X-Token=Bearer%20{SECRET}")
        assert one.request("GET", "/").excerpt == "500 ..., ..., ..., http://host failed"


def test_nobody_there_and_one_that_hangs() -> None:
    """Each is an error of its own, with the variable to look at."""
    with pytest.raises(UnreachableError, match=f"^Prometheus at .* does not answer. .* {P}URL its address"):
        client(f"http://127.0.0.1:{free_port()}").request("GET", "/")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(NoResponseError, match=rf"did not answer in time.*{P}TIMEOUT") as raised:
            client(url, TIMEOUT="0.05").request("GET", "/")
    assert not isinstance(raised.value, UnreachableError)


WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


@given(
    scheme=st.sampled_from(["http", "redis", "postgresql+psycopg"]),
    user=WORDS,
    middle=st.sampled_from(["", "/", ":", "@", "?", "#"]),
)
def test_no_password_is_left_in_an_address(scheme: str, user: str, middle: str) -> None:
    """Neither where it is alone, in a sentence, as a parameter, nor with signs in it that end a host."""
    for address in (f"{scheme}://{user}:x{middle}{SECRET}@host:80/path", f"{scheme}://host:80/path?a=1&api_key={SECRET}"):
        redacted = redact_url(f"see {address} and {address}")
        assert SECRET not in redacted
        assert redacted.count("host:80/path") == 2


def test_an_address_without_secrets_stays() -> None:
    """Also with an @ in its path."""
    for address in ("http://127.0.0.1:9090/a@b?x=1", "http://[::1]:9090/a@b", "sqlite:///a/b.db", "no address: me@host"):
        assert redact_url(address) == address


def test_a_representation_shows_no_secret() -> None:
    """Settings in a log or a traceback show neither headers nor passwords."""
    environ = {f"{P}URL": f"http://me:{SECRET}@host", f"{P}HEADERS": f"A={SECRET}", "OTEL_TTS_GRAFANA_PASSWORD": SECRET}
    assert SECRET not in repr(DoctorSettings.load(environ))
