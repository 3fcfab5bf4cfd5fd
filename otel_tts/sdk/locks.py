"""The locks of the SDK's metrics in a forked child.

Whoever held one at the moment of the fork does not exist in the child, where it would stay held for ever: another thread that was
recording, or a collection that waited for a slow callback of the host's. The SDK renews some of them; these functions renew the rest.
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
    """Renew what registering a reader takes, so that ours can begin anew."""
    MeterProvider._all_metric_readers_lock = threading.Lock()  # noqa: SLF001 - there is no other way
    _renew(provider)
    _renew(provider._measurement_consumer)  # noqa: SLF001 - as above


def renew_all_locks(provider: MeterProvider) -> None:
    """Renew those of instruments, of readers of the host's, and of the series that these have."""
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
    # A lock is replaced, not released: should the fork have come from the middle of a collection, its end releases the old one.
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
