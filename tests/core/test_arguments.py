"""Arguments of `Telemetry` and `configure` of a wrong kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_tts
from otel_tts import Telemetry
from otel_tts.errors import SettingError
from otel_tts.settings import Settings

OBJECTS: tuple[Any, ...] = (
    5,
    5.5,
    True,
    "x",
    b"x",
    {},
    {"a": 1},
    ["x"],
    (),
    object(),
    Settings,
    TracerProvider,
    len,
    np.zeros(2),
)
FITS: dict[tuple[Callable[..., object], str], Callable[[Any], bool]] = {
    **{
        (Telemetry, name): lambda value: isinstance(value, str | dict | list | tuple | np.ndarray)
        for name in ("voices", "languages", "providers", "models")
    },
    **{(Telemetry, name): lambda _: False for name in ("settings", "tracer_provider", "meter_provider", "clock")},
    **{
        (otel_tts.configure, name): lambda value: isinstance(value, int)
        for name in ("local", "logs", "handle_sigterm", "monitor")
    },
    **{(otel_tts.configure, f"{name}_provider"): lambda _: False for name in ("tracer", "meter", "logger")},
    (otel_tts.configure, "settings"): lambda _: False,
    (otel_tts.configure, "resource"): lambda value: isinstance(value, dict),
    (otel_tts.configure, "service_name"): lambda value: isinstance(value, str),
    (otel_tts.configure, "prometheus_port"): lambda value: type(value) is int,
}
WRONG = [(call, name, value) for (call, name), fits in FITS.items() for value in OBJECTS if not fits(value)]


@pytest.mark.parametrize(("call", "name", "value"), WRONG)
def test_a_wrong_kind(
    call: Callable[..., object], name: str, value: object, record_property: Callable[[str, object], None]
) -> None:
    """It is refused before anything begins, with the call, the argument, its value or type, and what is allowed, on one line."""
    with pytest.raises(SettingError) as caught:
        call(**{name: value})
    message = str(caught.value)
    assert re.fullmatch(rf"{call.__name__}\({name}=.{{1,60}}\) is not possible\. Give .{{3,70}}, or leave it out\.", message)
    record_property("hostile inputs: API", 1)


@pytest.mark.parametrize("port", [-1, 65_536, 2**70])
def test_a_port_that_is_none(port: int) -> None:
    """A number that is no port is refused by the argument's name."""
    with pytest.raises(SettingError, match=re.escape("configure(prometheus_port=") + ".*from 0 to 65535"):
        otel_tts.configure(prometheus_port=port)


@pytest.mark.parametrize(
    "make", [lambda: "tone", lambda: ["tone"], lambda: {"tone": 1}, lambda: {"tone"}, lambda: iter(["tone"])]
)
@pytest.mark.parametrize("name", ["voices", "languages", "providers", "models"])
def test_lists_of_names(name: str, make: Callable[[], Any]) -> None:
    """Anything that gives names is a list of them; a string is one name."""
    labels = getattr(Telemetry(**{name: make()}).emitter, f"{name.removesuffix('s')}_labels")
    assert (labels.bound("tone"), labels.bound("other")) == ("tone", "_OTHER")
