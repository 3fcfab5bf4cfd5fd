"""The registry of what is put right at a fork."""

from __future__ import annotations

import gc
import os
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from otel_tts import semconv
from otel_tts.core import fork
from otel_tts.core.guard import guard
from otel_tts.core.labels import Labels


def in_child(check: Callable[[], Any]) -> int:
    """The exit status of a forked child that runs ``check``: 0 when it raised nothing."""
    child = os.fork()
    if child == 0:
        try:
            check()
        except BaseException:  # noqa: BLE001 - whatever it is, the child ends here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Owner(fork.ForkAware):
    def __init__(self, name: str, names_told: list[str]) -> None:
        self.name = name
        self.names_told = names_told
        fork.register(self)

    def before_fork(self) -> None:
        self.names_told.append(f"before {self.name}")

    def after_fork_in_parent(self) -> None:
        self.names_told.append(f"parent {self.name}")

    def after_fork_in_child(self) -> None:
        self.names_told.append(f"child {self.name}")


class Faulty(Owner):
    def before_fork(self) -> None:
        raise RuntimeError

    after_fork_in_parent = after_fork_in_child = before_fork


def test_owners_are_told_in_order() -> None:
    """Before a fork the newest first, afterwards the oldest first, in parent and child alike."""
    names_told: list[str] = []
    owners = [Owner("a", names_told), Owner("b", names_told)]

    def child() -> None:
        assert names_told == ["before b", "before a", "child a", "child b"]

    assert in_child(child) == 0
    assert names_told == ["before b", "before a", "parent a", "parent b"]
    assert len(owners) == 2


def test_a_dropped_owner_is_forgotten() -> None:
    """The registry keeps nothing alive, and nothing of what is gone."""
    gc.collect()
    before = set(fork._owners)
    names_told: list[str] = []
    owner = Owner("a", names_told)
    assert len(set(fork._owners) - before) == 1
    del owner
    gc.collect()
    assert set(fork._owners) - before == set()
    assert in_child(lambda: None) == 0
    assert names_told == []


def test_one_that_raises_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The fork goes on, and the others are told."""
    guard._warned.clear()
    names_told: list[str] = []
    owners = [Owner("a", names_told), Faulty("b", names_told), Owner("c", names_told)]
    assert in_child(lambda: None) == 0
    assert names_told == ["before c", "before a", "parent a", "parent c"]
    assert "a fork" in caplog.text
    assert len(owners) == 3


def test_a_lock_that_another_thread_holds_is_free_in_the_child() -> None:
    """A label is bounded in a child that was forked while another thread of the parent was at it."""
    labels = Labels(semconv.VOICE)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with labels._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def child() -> None:
        assert labels._lock.acquire(blocking=False)
        labels._lock.release()
        assert labels.bound("amy") == "amy"

    try:
        assert in_child(child) == 0
    finally:
        done.set()
        thread.join()
