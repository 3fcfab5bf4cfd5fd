"""Comparisons: two versions, profiles or ranges of time side by side."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts.history import History
from otel_tts.report.drift import Judgement, judge
from otel_tts.report.profile import Profiles
from otel_tts.report.reference import Fixed, UnknownReferenceError, resolve
from otel_tts.report.sample import Sample


@dataclass(frozen=True, slots=True)
class SampleComparison:
    """The second side, judged by the first."""

    first: Sample
    second: Sample
    judgement: Judgement


def compare(history: History, profiles: Profiles, service: str, first: str, second: str) -> SampleComparison:
    """Compare two sides, each named as a reference is; a bare name is a version, or else a profile.

    Args:
        history: the telemetry that is read.
        profiles: that are saved.
        service: the name of the service.
        first: the side that is compared with: a version, a profile or a range.
        second: the side that is compared.

    Raises:
        UnknownReferenceError: one of them is not there.
        ValueError: one of them is nothing of the kind.
    """
    sides = [_side(name, history, profiles, service) for name in (first, second)]
    return SampleComparison(sides[0], sides[1], judge(sides[1], sides[0], first))


def _side(name: str, history: History, profiles: Profiles, service: str) -> Sample:
    kinds = [name] if name.startswith(("version:", "profile:", "range:")) else [f"version:{name}", f"profile:{name}"]
    refusals = []
    for kind in kinds:
        try:
            resolved = resolve(kind, history, profiles, None, service)
        except UnknownReferenceError as error:
            refusals.append(str(error))
        else:
            assert isinstance(resolved, Fixed)  # noqa: S101 - of these kinds, all are
            return resolved.what
    raise UnknownReferenceError(" ".join(refusals))
