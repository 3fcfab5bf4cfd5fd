"""The service's methods on the wire.

Bytes that are no request come to the service as None: grpc by itself would answer UNKNOWN and quote the parser, before any
interceptor could see the call, where it is the caller's mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.service.servicer import TextToSpeech

SERVICE = tts_pb2.DESCRIPTOR.services_by_name["TextToSpeech"].full_name

M = TypeVar("M", bound=Message)


def handler(servicer: TextToSpeech) -> grpc.GenericRpcHandler:
    """The service, for ``server.add_generic_rpc_handlers``.

    Args:
        servicer: answers the RPCs.
    """
    synthesize, voices = _reader(tts_pb2.SynthesizeRequest), _reader(tts_pb2.ListVoicesRequest)
    whole, part = tts_pb2.SynthesizeResponse.SerializeToString, tts_pb2.SynthesizeStreamResponse.SerializeToString
    listed = tts_pb2.ListVoicesResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Synthesize": grpc.unary_unary_rpc_method_handler(servicer.Synthesize, synthesize, whole),
            "SynthesizeStream": grpc.unary_stream_rpc_method_handler(servicer.SynthesizeStream, synthesize, part),
            "ListVoices": grpc.unary_unary_rpc_method_handler(servicer.ListVoices, voices, listed),
        },
    )


def _reader(message: type[M]) -> Callable[[bytes], M | None]:
    def read(data: bytes) -> M | None:
        try:
            return message.FromString(data)
        except DecodeError:
            return None

    return read
