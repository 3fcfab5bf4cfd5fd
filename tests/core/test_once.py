"""Once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from otel_tts.core.once import Once


def test_only_the_first_claims_it() -> None:
    """However many threads try, one of them has to do it, and it is done from then on."""
    for _ in range(50):
        once = Once()
        assert not once.done
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda _, once=once: once.claim(), range(32))) == 1
        assert once.done
        assert not once.claim()
