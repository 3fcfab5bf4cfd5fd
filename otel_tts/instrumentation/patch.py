"""Patch: a function of the host that is wrapped when its module is imported, and restored on demand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

from otel_tts.core.guard import guard

_logger = logging.getLogger(__name__)

Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
"""A function that is called with the wrapped function (bound), the object it is bound to, and the arguments of the call."""


class Patch:
    """One patch. Only the host imports ``module``: an SDK that is installed and not used has no cost.

    name: ``function`` or ``Class.method``. wrapper_of: returns the wrapper of that function. optional: whether it may be missing.
    """

    def __init__(self, module: str, name: str, wrapper_of: Callable[[Any], Wrapper], *, optional: bool = False) -> None:
        self._module = module
        self._name = name
        self._optional = optional
        self._wrapper_of: Callable[[Any], Wrapper] | None = wrapper_of
        self._restore: Callable[[], None] | None = None
        wrapt.register_post_import_hook(self._apply, module)

    def remove(self) -> None:
        """Restore the host's function."""
        self._wrapper_of = None  # a module that is imported later is not patched
        if self._restore is not None:
            self._restore()
            self._restore = None  # breaks the circle of references of this object and its closure

    def _apply(self, module: ModuleType) -> None:
        if self._wrapper_of is None:
            return
        try:
            parent, attribute, function = wrapt.resolve_path(module, self._name)
        except AttributeError:
            if self._optional:
                return
            _logger.warning("%s has no %s, so it is not observed.", self._module, self._name)
            return
        try:
            wrapper = wrapt.FunctionWrapper(function, self._wrapper_of(function), enabled=lambda: self._wrapper_of is not None)
        except Exception as error:  # noqa: BLE001 - the boundary: this is the host's import
            guard.caught(f"observing {self._module}.{self._name}", error)
            return
        inherited = attribute not in vars(parent)
        wrapt.apply_patch(parent, attribute, wrapper)

        def restore() -> None:
            if vars(parent).get(attribute) is not wrapper:
                return  # another wrapper is around ours, which stays inside, disabled
            if inherited:
                delattr(parent, attribute)
            else:
                setattr(parent, attribute, function)

        self._restore = restore
