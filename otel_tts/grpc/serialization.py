"""A method's deserializer and serializer, which tell the RPC when they fail: grpc answers such a failure itself."""

from __future__ import annotations

from typing import Any

from otel_tts.grpc.rpc import Rpc
from otel_tts.grpc.status import OURS, set_code


def reading(deserialize: Any, rpc: Rpc, failure: str) -> Any:
    """``deserialize``, whose failure grpc answers with the status ``failure``."""

    def reading(raw: bytes) -> Any:
        try:
            request = deserialize(raw)
        except BaseException:
            rpc.answer(failure, by_grpc=True)
            raise
        if request is None and failure == "INTERNAL":  # `grpc` takes it for a failure
            rpc.answer(failure, by_grpc=True)
        return request

    return reading


def writing(serialize: Any, rpc: Rpc, failure: str) -> Any:
    """``serialize``, whose failure grpc answers with the status ``failure``, unless the handler has set another."""

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
