"""Fixtures of the tests that run the whole pipeline; what they start is in `tests.e2e.stack`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for all tests that leave it running as they found it."""
    with running(tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for one test, which may do to it what it likes."""
    with running(tmp_path_factory.mktemp("stack")) as started:
        yield started
