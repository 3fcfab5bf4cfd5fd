"""Either: an iterator over what can be iterated over in both ways, synchronously and asynchronously."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def iterated(
    items: Any, iterator: Callable[[Any], Iterator[T]], async_iterator: Callable[[Any], AsyncIterator[T]]
) -> Iterator[T] | AsyncIterator[T]:
    """Return an iterator over items: asynchronous if they are, and one that is both if they are both.

    Args:
        items: of the host.
        iterator: makes an iterator over them.
        async_iterator: makes an asynchronous one.
    """
    if not isinstance(items, AsyncIterable):
        return iterator(items)
    return Either(items, iterator, async_iterator) if isinstance(items, Iterable) else async_iterator(items)


class Either(Iterator[T], AsyncIterator[T], Generic[T]):
    """An iterator of both kinds; each begins with its first pull.

    Args:
        items: can be iterated over in both ways.
        iterator: makes an iterator over them.
        async_iterator: makes an asynchronous one.
    """

    def __init__(
        self, items: Any, iterator: Callable[[Any], Iterator[T]], async_iterator: Callable[[Any], AsyncIterator[T]]
    ) -> None:
        self._items = items
        self._make, self._make_async = iterator, async_iterator
        self._iterator: Iterator[T] | None = None
        self._async_iterator: AsyncIterator[T] | None = None

    def __next__(self) -> T:
        if self._iterator is None:
            self._iterator = self._make(self._items)
        return next(self._iterator)

    async def __anext__(self) -> T:
        if self._async_iterator is None:
            self._async_iterator = self._make_async(self._items)
        return await anext(self._async_iterator)
