"""Answers that are kept for a while, and questions that are asked once for all who ask them at the same time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Answers:
    """Answers by key. Who asks what somebody else is asking waits for that answer, and for no other. Errors are not kept.

    Args:
        most: how many answers are kept at most.
        kept_s: how long an answer is kept, in seconds; None: until there are too many.
        clock: gives seconds.
    """

    def __init__(self, most: int, kept_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._kept_s = kept_s
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, Future[Any]]] = OrderedDict()
        self._lock = Lock()  # held for no question

    def get(self, key: Hashable, question: Callable[[], T]) -> T:
        """Give the answer to a question, which is asked where there is none yet.

        Args:
            key: of the question.
            question: is asked.
        """
        with self._lock:
            asked_at, answer = self._answers.get(key, (0.0, None))
            if answer is not None and self._kept_s is not None and self._clock() - asked_at > self._kept_s:
                answer = None
            first = answer is None
            if answer is None:
                answer = Future()
                self._answers[key] = self._clock(), answer
            self._answers.move_to_end(key)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        if first:
            try:
                answer.set_result(question())
            except BaseException as error:  # noqa: BLE001 - nobody may wait for ever
                with self._lock:
                    if self._answers.get(key, (0.0, None))[1] is answer:
                        del self._answers[key]  # so that the next one asks again
                answer.set_exception(error)
        return cast("T", answer.result())
