"""Answers are kept for a while, and each is asked once for all who ask at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from otel_tts.history.answers import Answers


def test_an_answer_is_kept_for_its_time_and_no_longer() -> None:
    """It counts from when it was asked for, however often it is used meanwhile; then the question is asked again."""
    now = 100.0
    answers = Answers(8, 30.0, lambda: now)
    asked = iter(range(10))
    assert [answers.get("a", asked.__next__) for _ in range(3)] == [0, 0, 0]
    now = 130.0
    assert answers.get("a", asked.__next__) == 0
    now = 130.1
    assert answers.get("a", asked.__next__) == 1
    now = 160.0
    assert answers.get("a", asked.__next__) == 1
    assert answers.get("b", asked.__next__) == 2, "another question"


def test_without_a_time_answers_are_kept_until_there_are_too_many() -> None:
    """The one that nobody asked for longest goes first."""
    now = 0.0
    answers = Answers(2, None, lambda: now)
    assert [answers.get(key, lambda key=key: key.upper()) for key in "abacb"] == ["A", "B", "A", "C", "B"]
    now = 1e9
    asked: list[str] = []
    for key in "cba":
        answers.get(key, lambda key=key: asked.append(key))
    assert asked == ["a"]


def test_many_who_ask_at_once_wait_for_one_answer_and_for_no_other() -> None:
    """The question is asked once; who asks another one does not wait."""
    answers = Answers(8, 30.0)
    go, asked = Event(), []

    def slow() -> str:
        asked.append("slow")
        go.wait(60)
        return "answer"

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(answers.get, "slow", slow) for _ in range(3)]
        assert threads.submit(answers.get, "quick", lambda: "at once").result(60) == "at once"
        go.set()
        assert [each.result(60) for each in waiting] == ["answer"] * 3
    assert asked == ["slow"]


def test_an_error_is_everybodys_who_waits_and_is_not_kept() -> None:
    """The next one asks again."""
    answers = Answers(8, 30.0)
    with pytest.raises(ZeroDivisionError):
        answers.get("a", lambda: 1 // 0)
    assert answers.get("a", lambda: 2) == 2
