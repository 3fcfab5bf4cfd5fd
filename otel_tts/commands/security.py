"""Channels to a service: plain, or with TLS, by options that are called as those of grpcurl."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import grpc

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_BEGIN = b"-----BEGIN "
_IN_TURN = '{"loadBalancingConfig": [{"round_robin": {}}]}'  # a name that resolves to several replicas means each of them
TLS_FAILED = (
    "Does it speak TLS? Is its certificate signed by an authority of --cacert, and for the host of --target or the name that "
    "--servername gives?"
)
"""What to look at where a channel with TLS does not come to be."""


@dataclass(frozen=True, slots=True)
class Security:
    """How channels to a service are secured. credentials: None without TLS. server_name: of its certificate; empty: the target's host."""

    credentials: grpc.ChannelCredentials | None = None
    server_name: str = ""

    def channel(self, target: str) -> grpc.Channel:
        """A channel of synchronous calls.

        Args:
            target: ``HOST:PORT``.
        """
        if self.credentials is None:
            return grpc.insecure_channel(target, options=self._options())
        return grpc.secure_channel(target, self.credentials, options=self._options())

    def aio_channel(self, target: str) -> grpc.aio.Channel:
        """A channel of asyncio.

        Args:
            target: ``HOST:PORT``.
        """
        if self.credentials is None:
            return grpc.aio.insecure_channel(target, options=self._options())
        return grpc.aio.secure_channel(target, self.credentials, options=self._options())

    def _options(self) -> list[tuple[str, Any]]:
        name = [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []
        return [("grpc.enable_http_proxy", 0), ("grpc.service_config", _IN_TURN), *name]


PLAIN = Security()
"""Without TLS."""


def security_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of TLS to a command, which gets them as one argument, ``security``.

    Args:
        command: the function of a click command.
    """

    @click.option("--tls", is_flag=True, help="Reach --target by TLS, with the authorities of this machine.")
    @click.option("--cacert", type=_FILE, metavar="FILE", help="TLS with these authorities: certificates in PEM.")
    @click.option("--cert", type=_FILE, metavar="FILE", help="TLS with this client certificate, in PEM; needs --key.")
    @click.option("--key", type=_FILE, metavar="FILE", help="The private key of --cert, in PEM.")
    @click.option(
        "--servername", default="", metavar="NAME", help="TLS; the name in the certificate, if it is not the host of --target."
    )
    @functools.wraps(command)
    def secured(
        *args: Any, tls: bool, cacert: Path | None, cert: Path | None, key: Path | None, servername: str, **options: Any
    ) -> Any:
        return command(*args, security=_security(cacert, cert, key, servername, tls=tls), **options)

    return secured


def _security(cacert: Path | None, cert: Path | None, key: Path | None, servername: str, *, tls: bool) -> Security:
    if (cert is None) is not (key is None):
        raise click.UsageError("--cert and --key go together: a client certificate and its private key.")
    if not (tls or cacert or cert or servername):
        return PLAIN
    credentials = grpc.ssl_channel_credentials(_pem("--cacert", cacert), _pem("--key", key), _pem("--cert", cert))
    return Security(credentials, servername)


def _pem(option: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    content = path.read_bytes()
    if _BEGIN not in content:
        raise click.UsageError(
            f"{option} {str(path)!r} is not allowed: it takes a file in PEM, with a line that begins with {_BEGIN.decode().strip()}."
        )
    return content
