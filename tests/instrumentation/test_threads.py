"""The context goes along into threads, and nothing else changes for them."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import Pool, ThreadPool

import pytest
from opentelemetry.context import attach, detach, get_value, set_value

from otel_tts.instrumentation.threads import ThreadsInstrumentor
from tests.instrumentation.conftest import Observe


def carried() -> object:
    """What the context here says."""
    return get_value("who")


def test_work_takes_the_context_along(observe: Observe) -> None:
    """Of where it was handed over, not of where the thread was started."""
    observe(ThreadsInstrumentor)
    with ThreadPoolExecutor(1) as pool:
        seen = [pool.submit(carried).result()]
        for who in ("first", "second"):
            token = attach(set_value("who", who))
            seen.append(pool.submit(carried).result())
            detach(token)
        seen.append(pool.submit(carried).result())
    assert seen == [None, "first", "second", None]


def _apply(pool: ThreadPool) -> object:
    return pool.apply(carried)


def _apply_by_keyword(pool: ThreadPool) -> object:
    return pool.apply_async(func=carried).get()


def _starmap(pool: ThreadPool) -> object:
    return pool.starmap(carried, [()])[0]


def _map(pool: ThreadPool) -> object:
    return pool.map(lambda _: carried(), [0])[0]


def _imap(pool: ThreadPool) -> object:
    return next(pool.imap(lambda _: carried(), [0]))


def _imap_unordered(pool: ThreadPool) -> object:
    return next(pool.imap_unordered(lambda _: carried(), [0], chunksize=2))


@pytest.mark.parametrize("ask", [_apply, _apply_by_keyword, _starmap, _map, _imap, _imap_unordered])
def test_a_bare_pool_takes_the_context_along(observe: Observe, ask: Callable[[ThreadPool], object]) -> None:
    """Whatever it is asked for, and for nobody else afterwards."""
    observe(ThreadsInstrumentor)
    token = attach(set_value("who", "first"))
    with ThreadPool(1) as pool:
        seen = [ask(pool)]
        detach(token)
        seen.append(ask(pool))
    assert seen == ["first", None]


def test_a_pool_of_processes_is_left_alone(observe: Observe) -> None:
    """What it is given has to be sent to another process."""
    observe(ThreadsInstrumentor)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
        assert pool.map(abs, [-1, -2]) == [1, 2]


class Worker(threading.Thread):
    """A thread with a ``run`` of its own."""

    seen: object = None

    def run(self) -> None:
        """Look."""
        self.seen = carried()


def test_a_thread_takes_the_context_along(observe: Observe) -> None:
    """Whoever wrote its ``run``, which is its own again when it runs."""
    observe(ThreadsInstrumentor)
    seen: list[object] = []
    token = attach(set_value("who", "starter"))
    worker, plain = Worker(), threading.Thread(target=lambda: seen.append(carried()))
    for thread in (worker, plain):
        thread.start()
        thread.join()
        assert "run" not in vars(thread)
    detach(token)
    assert (worker.seen, seen) == ("starter", ["starter"])


def test_errors_and_results_are_the_host_s(observe: Observe) -> None:
    """What the work raises is raised, what it needs is passed."""
    observe(ThreadsInstrumentor)
    error = ValueError("no")

    def work(number: int, *, fail: bool) -> int:
        if fail:
            raise error
        return number

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work, 7, fail=False).result() == 7
        with pytest.raises(ValueError, match="no") as raised:
            pool.submit(work, 7, fail=True).result()
        assert raised.value is error
        with pytest.raises(TypeError):
            pool.submit()  # type: ignore[call-arg]  # that is the test


def test_the_functions_come_back() -> None:
    """Afterwards they are the very same."""
    before = threading.Thread.start, ThreadPoolExecutor.submit, Pool.apply_async
    ThreadsInstrumentor().instrument()
    assert threading.Thread.start is not before[0]
    ThreadsInstrumentor().uninstrument()
    assert threading.Thread.start is before[0]
    assert ThreadPoolExecutor.submit is before[1]
    assert Pool.apply_async is before[2]
