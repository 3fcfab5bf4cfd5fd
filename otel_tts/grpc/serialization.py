"""Wrappers of a method's deserializer and serializer that report failures to the RPC: grpc sends the status of these by itself."""

from __future__ import annotations

from typing import Any

from otel_tts.grpc.rpc import Rpc
from otel_tts.grpc.status import OURS, set_code


def reading(deserialize: Any, rpc: Rpc, failure: str) -> Any:
    """Wrap ``deserialize``. If it fails, grpc sends the status ``failure``, unless the handler has set another one.

    Args:
        deserialize: makes a request of bytes.
        rpc: the RPC.
        failure: the name of the code that grpc sends if it fails.
    """

    def reading(raw: bytes) -> Any:
        try:
            request = deserialize(raw)
        except BaseException:
            failed()
            raise
        if request is None and failure == "INTERNAL":  # `grpc` treats None as a failure
            failed()
        return request

    def failed() -> None:
        code = set_code(rpc, failure)
        rpc.answer(code, None, OURS if code == "OK" else None, by_grpc=True)

    return reading


def writing(serialize: Any, rpc: Rpc, failure: str) -> Any:
    """Wrap ``serialize``. If it fails, grpc sends the status ``failure``, unless the handler has set another one.

    Args:
        serialize: makes bytes of a response.
        rpc: the RPC.
        failure: the name of the code that grpc sends if it fails.
    """

    def writing(message: Any) -> Any:
        try:
            raw = message if serialize is None else serialize(message)
        except BaseException as error:
            rpc.answer(set_code(rpc, failure), error, OURS, by_grpc=True)
            raise
        if isinstance(raw, bytes):
            rpc.largest_response = max(rpc.largest_response, len(raw))
        else:
            rpc.answer(set_code(rpc, failure), None, OURS, by_grpc=True)
        return raw

    return writing
