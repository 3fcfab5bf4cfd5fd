"""Turns of Pipecat's pipelines that chance interrupts and breaks, beside what their services and their sink recorded."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.instrumentation.test_pipecat import PYTHON, ROOT

pytestmark = pytest.mark.skipif(
    not PYTHON.exists() and os.environ.get("REQUIRE_TOOLS") != "1", reason="`make tools` installs Pipecat"
)
PRICES = {"inline": 10.0, "socket": 100.0}
"""US dollars per million characters."""
SESSIONS = 60
SLACK_S = 0.0015


def prices_of(calls: list[dict[str, Any]]) -> float:
    """Characters that are charged: of the calls up to one that fails, if any of them made audio."""
    attempts: list[list[dict[str, Any]]] = [[]]
    for call in calls:
        attempts[-1].append(call)
        if call["error"]:
            attempts.append([])
    return sum(sum(len(call["text"]) for call in attempt) for attempt in attempts if any(call["made_s"] for call in attempt))


def shortfall_s(frames: list[tuple[float, float]]) -> float:
    """The worst one of a player that begins with the first frame."""
    worst_s = played_s = 0.0
    for at_s, seconds in frames:
        worst_s = max(worst_s, at_s - frames[0][0] - played_s)
        played_s += seconds
    return worst_s


def differences(utterance: dict[str, Any], requests: list[dict[str, Any]], price: float) -> Iterator[str]:
    """What is not as it was. Text that comes after a context has gone quiet is a request of its own."""
    calls, frames, cut = utterance["calls"], utterance["frames"], utterance["cut"]
    recorded = {name: sum(request[name] for request in requests) for name in ("made", "delivered", "cost")}
    delivered_s, made_s = sum(seconds for _, seconds in frames), sum(call["made_s"] for call in calls)
    if abs(recorded["delivered"] - delivered_s) > SLACK_S:
        yield f"handed out {recorded['delivered']} for {delivered_s}"
    if abs(recorded["made"] - made_s) > SLACK_S and not (cut and delivered_s - SLACK_S <= recorded["made"] <= made_s):
        yield f"made {recorded['made']} for {made_s}"
    if recorded["made"] and abs(recorded["cost"] - price * prices_of(calls)) > 1e-9:
        yield f"cost {recorded['cost']} for {price * prices_of(calls)}"
    outcomes = {request["outcome"] for request in requests}
    if "ok" in outcomes and not all(call["whole"] for call in calls):
        yield "ok, but a part failed"
    if all(call["whole"] and call["made_s"] for call in calls) and not cut and outcomes != {"ok"}:
        yield f"{outcomes}, but nothing failed"
    if any(request["outcome"] == "cancelled" for request in requests) and not cut:
        yield "cancelled, but nobody interrupted"
    if len(requests) == 1 and abs(requests[0]["underrun"] - shortfall_s(frames)) > SLACK_S:
        yield f"underrun {requests[0]['underrun']} for {shortfall_s(frames)}"
    silent = [call["error"] for call in calls] == ["TimeoutError"] and not made_s
    if silent and not cut and price == PRICES["socket"] * 1e-6 and {request["error"] for request in requests} != {"timeout"}:
        yield f"{requests[0]['error']} of a provider that is silent"
    if {reason for request in requests for reason, *_ in request["attempts"]} - {"initial"}:
        yield "a retry, but Pipecat asks for no sentence again"


@pytest.mark.parametrize("at_once", [1, 6])
def test_each_turn_is_as_it_was(tmp_path: Path, at_once: int) -> None:
    """Requests, outcome, attempts, audio made and handed out, gaps and cost, on spans and in the metrics; and none stays open.

    Also where several pipelines run in one event loop: nothing of one is another's.
    """
    file = tmp_path / "prices.toml"
    file.write_text("".join(f"[{name}]\nusd_per_million_characters = {price}\n" for name, price in PRICES.items()))
    program = ROOT / "tests" / "instrumentation" / "programs" / "pipecat_turns.py"
    ran = subprocess.run(
        [str(PYTHON), str(program), str(SESSIONS), str(at_once)], env=os.environ | {"PYTHONPATH": str(ROOT), "OTEL_TTS_PRICES": str(file)},
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    record = json.loads(ran.stdout.splitlines()[-1])
    wrong: list[Any] = []
    for session in record["sessions"]:
        requests = sorted(session["requests"], key=lambda request: request["start"])
        for utterance in session["utterances"]:
            characters = sum(len(call["text"]) for call in utterance["calls"])
            its: list[dict[str, Any]] = []
            while requests and sum(request["characters"] for request in its) < characters:
                its.append(requests.pop(0))
            faults = list(differences(utterance, its, PRICES[session["service"]] * 1e-6))
            wrong += [(session["seed"], faults, utterance["calls"], its)] if faults else []
        assert (requests, session["left"]) == ([], 0), session["seed"]
        assert all(request["conversations"] == [f"call {session['seed']}"] for request in session["requests"])
    assert wrong == []
    everything = [request for session in record["sessions"] for request in session["requests"]]
    assert {"ok", "cancelled", "partial", "error"} <= {request["outcome"] for request in everything}
    assert record["totals"] == {
        "tts.synthesis.duration": len(everything),
        "tts.attempt.duration": sum(len(request["attempts"]) for request in everything),
        "tts.usage.cost": pytest.approx(sum(request["cost"] for request in everything)),
    }
