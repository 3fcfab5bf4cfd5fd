"""What `make tools-scale` builds of Go modules is linked with nothing that the project may not use."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.licences import badness
from tests.test_licences import in_directory, linked, required, source
from tools.programs import SCALE, Module


def test_the_modules_of_the_programs() -> None:
    """Every module that is linked into Thanos or the gateways' Collector, and Thanos's own."""
    environment = subprocess.run([required("go"), "env", "GOMODCACHE"], check=True, capture_output=True, text=True)
    cache = Path(environment.stdout.strip())
    thanos = SCALE["thanos"]()
    assert isinstance(thanos, Module)
    modules = linked("thanos") | linked("otelcol-tts-gateway") | {(thanos.path, thanos.version)}
    assert len(modules) > 300
    families = {module: in_directory(source(*module, cache)) for module in sorted(modules)}
    assert {module: licences for module, licences in families.items() if badness(licences)} == {}
