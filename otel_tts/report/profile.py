"""Profiles: samples that were saved under a name, to be compared with when the telemetry they come from is long deleted."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

from otel_tts.report.sample import FACTS, Sample

_NAME = re.compile(r"[\w][\w.\-]{0,99}")
_FORMAT = 1


class Profiles:
    """The profiles in a directory.

    Args:
        directory: the data directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "references"

    def names(self) -> list[str]:
        """The names of all profiles."""
        return sorted(path.name.removesuffix(".json.gz") for path in self._directory.glob("*.json.gz"))

    def save(self, name: str, sample: Sample) -> Path:
        """Save a sample under a name, in place of what was there; gives the file.

        Args:
            name: of the profile.
            sample: the sample of requests.

        Raises:
            ValueError: the name could not be a file's.
        """
        path = self._path(name)
        document = {
            "format": _FORMAT,
            "requests": sample.requests,
            "spans": sample.spans,
            "sampled": sample.sampled,
            "columns": FACTS,
            "rows": sample.rows,
            "attempts": sample.attempts,
            "scores": [[*key, list(buckets.items())] for key, buckets in sample.scores.items()],
        }
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))
        unfinished.replace(path)
        return path

    def load(self, name: str) -> Sample | None:
        """The sample under that name; None when there is none.

        Args:
            name: of the profile.

        Raises:
            ValueError: the name could not be a file's, or the file is of another version of otel-tts.
        """
        try:
            document = json.loads(gzip.decompress(self._path(name).read_bytes()))
        except FileNotFoundError:
            return None
        if document["format"] != _FORMAT or tuple(document["columns"]) != FACTS:
            raise ValueError(f"The profile {name!r} was saved by another version of otel-tts: save it again.")
        return Sample(
            requests=document["requests"],
            spans=document["spans"],
            sampled=document["sampled"],
            rows={span: tuple(row) for span, row in document["rows"].items()},
            attempts={provider: (succeeded, judged) for provider, (succeeded, judged) in document["attempts"].items()},
            scores={(score, voice): dict(buckets) for score, voice, buckets in document["scores"]},
        )

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a profile's name: it takes letters, digits, dots, dashes and underscores.")
        return self._directory / f"{name}.json.gz"
