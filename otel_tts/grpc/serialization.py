"""A method's deserializer and serializer, whose failures are reported to the RPC: grpc sends the status of these by itself."""

from __future__ import annotations

from typing import Any

from otel_tts.grpc.rpc import Rpc
from otel_tts.grpc.status import OURS, set_code


def read(deserialize: Any, rpc: Rpc, failure: str, raw: bytes) -> Any:
    """Deserialize a request. If that fails, grpc sends the status ``failure``, unless the handler has set another one.

    Args:
        deserialize: makes a request of bytes; None: they are the request.
        rpc: the RPC.
        failure: the name of the code that grpc sends if it fails.
        raw: the bytes.
    """
    rpc.received = True
    try:
        request = raw if deserialize is None else deserialize(raw)
    except BaseException:
        _unread(rpc, failure)
        raise
    if request is None and failure == "INTERNAL":  # `grpc` treats None as a failure
        _unread(rpc, failure)
    return request


def _unread(rpc: Rpc, failure: str) -> None:
    code = set_code(rpc.internals.context, failure)
    rpc.answer(code, None, OURS if code == "OK" else None, by_grpc=True)


def write(serialize: Any, rpc: Rpc, failure: str, message: Any) -> Any:
    """Serialize a response. If that fails, grpc sends the status ``failure``, unless the handler has set another one.

    Args:
        serialize: makes bytes of a response.
        rpc: the RPC.
        failure: the name of the code that grpc sends if it fails.
        message: the response.
    """
    try:
        raw = message if serialize is None else serialize(message)
    except BaseException as error:
        rpc.answer(set_code(rpc.internals.context, failure), error, OURS, by_grpc=True)
        raise
    if isinstance(raw, bytes):
        if len(raw) > rpc.largest_response:
            rpc.largest_response = len(raw)
    elif raw is None and failure == "UNKNOWN":  # `grpc.aio` sends it as an empty message
        rpc.largest_response = max(rpc.largest_response, 0)
    else:
        rpc.answer(set_code(rpc.internals.context, failure), None, OURS, by_grpc=True)
    return raw
