"""With the TLS overlay nothing gets in without the token, nor in the clear."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from otel_tts.sdk.receiver import takes_http2_only
from tests.e2e.stack import Stack, get, running, until

TOKEN = "only-those-who-know-it"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that has signed itself; its key stands beside it."""
    cert = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *subject, "-keyout", cert.with_name("key.pem"), "-out", cert], check=True, capture_output=True)
    return cert


@pytest.fixture(scope="module")
def secured(certificate: Path) -> Iterator[Stack]:
    """A stack that asks for TLS and a token."""
    directory = certificate.parent
    (directory / "token").write_text(TOKEN)
    key, token = str(certificate.with_name("key.pem")), str(directory / "token")
    with running(directory, "tls", TLS_CERT_FILE=str(certificate), TLS_KEY_FILE=key, OTLP_TOKEN_FILE=token) as stack:
        yield stack


def exporter(stack: Stack, protocol: str, token: str, certificate: Path | None) -> SpanExporter:
    """One that presents the token, over TLS where there is a certificate to trust."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if protocol == "http":
        scheme = "https" if certificate else "http"
        url = f"{stack.otlp_http.replace('http', scheme, 1)}/v1/traces"
        return HttpExporter(url, certificate_file=str(certificate), headers=headers, timeout=1)
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes()) if certificate else None
    return GrpcExporter(stack.otlp_grpc, certificate is None, credentials, headers, timeout=1)


def sent(name: str, by: SpanExporter) -> None:
    """Send one span of that name."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(by))
    with provider.get_tracer("test").start_as_current_span(name):
        pass
    provider.shutdown()


def arrived(stack: Stack) -> set[str]:
    """The names of all spans that are kept."""
    services = get(f"{stack.traces}/api/v3/services")["services"]
    operations = [get(f"{stack.traces}/api/v3/operations", service=service)["operations"] for service in services]
    return {operation["name"] for named in operations for operation in named}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_only_with_the_token(secured: Stack, certificate: Path, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS and with the token a span arrives; without TLS, without the token or with a wrong one none does."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # to requests these count more than a session's own
        monkeypatch.delenv(name, raising=False)
    names = {case: f"{protocol} {case}" for case in ("nothing", "a wrong token", "no TLS", "all")}
    sent(names["nothing"], exporter(secured, protocol, "", certificate))
    sent(names["a wrong token"], exporter(secured, protocol, "guessed", certificate))
    sent(names["no TLS"], exporter(secured, protocol, TOKEN, None))
    sent(names["all"], exporter(secured, protocol, TOKEN, certificate))
    until(lambda: names["all"] in arrived(secured), "the span of the one who has all")
    assert not arrived(secured) & {names[case] for case in names if case != "all"}


def test_only_the_receiver_of_grpc_takes_http2_only(secured: Stack) -> None:
    """By this an exporter of HTTP knows that it talks to the Collector's other port."""
    by_http = secured.otlp_http.replace("http", "https", 1)
    assert [takes_http2_only(url) for url in (secured.otlp_grpc.replace("http", "https", 1), by_http)] == [True, False]
