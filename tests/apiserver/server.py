"""A real API server of Kubernetes over a real etcd, without anything that would act on what it is given."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.e2e.stack import Process, answers, program, until
from tests.ports import free_port

_ADDRESS = "127.0.0.1"  # which the server's own certificate is for
_TOKEN = "administrator"


class RefusedError(Exception):
    """The server does not take a resource; the message is its own."""


@dataclass
class APIServer:
    """How it is reached.

    Attributes:
        url: its address.
        certificate: what it made to be known by.
    """

    url: str
    certificate: Path

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def ask(self, method: str, path: str, body: Any = None, **parameters: str) -> Any:
        """What it answers. Raises RefusedError."""
        headers = {"Authorization": f"Bearer {_TOKEN}", "Accept": "application/json"}
        headers["Content-Type"] = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body).encode()  # JSON is YAML
        url = f"{self.url}{path}?{urlencode(parameters)}"
        try:
            with urlopen(Request(url, data, headers, method=method), timeout=60, context=self._context) as reply:
                return json.load(reply)
        except HTTPError as error:
            raise RefusedError(json.loads(error.read())["message"]) from None

    def ready(self) -> bool:
        """Whether it has started."""
        try:
            return self.certificate.exists() and self.ask("GET", "/api/v1")["kind"] == "APIResourceList"
        except (OSError, ValueError, RefusedError):
            return False

    def path(self, resource: Mapping[str, Any], namespace: str) -> str:
        """Where a resource is, as the server itself says. Raises RefusedError for a kind that it does not know."""
        version = resource["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for kind in self.ask("GET", root)["resources"]:
            if kind["kind"] == resource["kind"] and "/" not in kind["name"]:
                within = f"/namespaces/{namespace}" if kind["namespaced"] else ""
                return f"{root}{within}/{kind['name']}/{resource['metadata']['name']}"
        raise RefusedError(f"{version} has no {resource['kind']}")

    def apply(self, resource: Mapping[str, Any], namespace: str, *, dry: bool = True) -> Any:
        """Apply a resource on the server's side, strictly; as a dry run it is checked and admitted, and not kept."""
        parameters = {"fieldManager": "chart", "fieldValidation": "Strict", "force": "true"}
        if dry:
            parameters["dryRun"] = "All"
        return self.ask("PATCH", self.path(resource, namespace), resource, **parameters)


@contextmanager
def running(directory: Path) -> Iterator[APIServer]:
    """Both programs for the length of the block."""
    etcd_client, etcd_peer, secure = free_port(), free_port(), free_port()
    etcd_url, peer_url = f"http://{_ADDRESS}:{etcd_client}", f"http://{_ADDRESS}:{etcd_peer}"
    key = directory / "service-accounts.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    tokens = directory / "tokens.csv"
    tokens.write_text(f"{_TOKEN},administrator,1,system:masters\n")
    server = APIServer(f"https://{_ADDRESS}:{secure}", directory / "certificates" / "apiserver.crt")
    etcd = Process(
        [
            program("etcd"),
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
        ],
        {},
        lambda: answers(f"{etcd_url}/health"),
        directory / "etcd.log",
        60.0,
    )
    api = Process(
        [
            program("kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            f"--bind-address={_ADDRESS}",
            f"--secure-port={secure}",
            f"--cert-dir={directory / 'certificates'}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
        ],
        {},
        server.ready,
        directory / "apiserver.log",
        180.0,
    )
    with ExitStack() as closing:
        for process in (etcd, api):
            closing.callback(process.kill)
            process.start()
        yield server


def established(server: APIServer, name: str) -> None:
    """Wait until resources of a definition are taken."""

    def served() -> bool:
        status = server.ask("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}").get("status", {})
        return any(
            condition["type"] == "Established" and condition["status"] == "True" for condition in (status.get("conditions") or ())
        )

    until(served, f"{name} is established", 60)
