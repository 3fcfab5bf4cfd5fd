"""The generated code of the API."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from otel_tts.service.wire import SERVICE
from tools import proto


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    """What is committed is what the proto says."""
    committed = (proto.ROOT / proto.PROTO).parent
    written = proto.generate(tmp_path)
    assert [path.name for path in written] == ["tts_pb2.py", "tts_pb2.pyi", "tts_pb2_grpc.py", "tts_pb2_grpc.pyi"]
    assert {path.name: path.read_text() for path in written} == {
        path.name: (committed / path.name).read_text() for path in written
    }


def test_the_generated_code_runs_with_the_versions_we_require() -> None:
    """It demands no newer grpcio than what is installed, and keeps the proto's canonical path."""
    assert version("grpcio") >= tts_pb2_grpc.GRPC_GENERATED_VERSION
    assert (tts_pb2.DESCRIPTOR.name, SERVICE) == ("yap/tts/v1/tts.proto", "yap.tts.v1.TextToSpeech")
    assert list(tts_pb2.DESCRIPTOR.services_by_name["TextToSpeech"].methods_by_name) == [
        "Synthesize",
        "SynthesizeStream",
        "ListVoices",
    ]
