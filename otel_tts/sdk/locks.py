"""The locks of the SDK's metrics in a forked child.

A thread that held one at the moment of the fork does not exist in the child: a thread that was recording, or a collection that waited
for a slow callback of the host. The lock would stay held for ever, and the child would hang at its next measurement or collection. The
SDK replaces some of its locks; these functions replace the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider

_KINDS = {type(threading.Lock()): threading.Lock, type(threading.RLock()): threading.RLock}
_SDK = "opentelemetry.sdk."


def renew_locks(provider: MeterProvider) -> None:
    """Replace the locks that registering a reader takes, so that our readers can be registered again.

    Args:
        provider: whose locks a forked child may find taken.
    """
    MeterProvider._all_metric_readers_lock = threading.Lock()  # noqa: SLF001 - there is no other way
    _renew(provider)
    _renew(provider._measurement_consumer)  # noqa: SLF001 - as above


def renew_all_locks(provider: MeterProvider) -> None:
    """Replace the locks of instruments, of the host's readers, and of their series.

    Args:
        provider: whose locks a forked child may find taken.
    """
    seen: set[int] = set()
    waiting: list[Any] = [provider]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if any(kind.__module__.startswith(_SDK) for kind in type(item).__mro__):
            _renew(item)
        waiting.extend(_behind(item))


def _renew(item: object) -> None:
    # A lock is replaced, not released: if the fork came from the middle of a collection, the end of that releases the old one. With the
    # same lock, it would release what another thread of the child has taken in the meantime.
    attributes = getattr(item, "__dict__", {})
    for name, value in list(attributes.items()):
        if make := _KINDS.get(type(value)):
            attributes[name] = make()


def _behind(item: object) -> Iterator[Any]:
    if isinstance(item, Mapping):
        yield from item.keys()
        yield from item.values()
    elif isinstance(item, list | tuple | AbstractSet):
        yield from item
    elif any(kind.__module__.startswith(_SDK) for kind in type(item).__mro__):
        yield from getattr(item, "__dict__", {}).values()
