"""What the first job of a process does once: importing this does it, before processes fork."""

from sqlalchemy.orm import configure_mappers

from otel_tts.report import tracking
from otel_tts.report.drift import judge
from otel_tts.report.sample import FACTS, Sample
from tests.report.drawings import undrawn

_ROW = dict.fromkeys(FACTS) | {"outcome": "ok", "cache_result": "hit", "characters": 10, "voice": "v", "language": "en"}
_ROWS = Sample(requests=60, spans=60, rows={str(number): tuple(_ROW.values()) for number in range(60)}, attempts={"p": (60, 60)})

tracking.prepare()
configure_mappers()
with undrawn():
    judge(_ROWS, _ROWS, "x")
