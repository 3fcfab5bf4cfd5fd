"""Grafana's names for the registry's units."""

from __future__ import annotations

from collections.abc import Mapping

_UNITS: Mapping[str, str] = {
    "1": "percentunit",
    "s": "s",
    "s/s": "count:s/s",
    "By": "bytes",
    "dB": "dB",
    "{score}": "none",
    "ms": "dateTimeFromNow",
    "{request}/s": "reqps",
    "{call}/s": "reqps",
    "{USD}": "currencyUSD",
    "{USD}/h": "currencyUSD",
}
_PLURALS: Mapping[str, str] = {"entry": "entries"}
NUMBER = "none"
"""A plain number: what a ratio is that is no share, as the real-time factor."""


def grafana_unit(ucum: str) -> str:
    """Grafana's id of a UCUM unit; of a rate of counts it names what is counted, in the plural, as ``attempts/s``.

    Args:
        ucum: a unit of the registry.
    """
    if ucum in _UNITS:
        return _UNITS[ucum]
    what, _, per = ucum.removeprefix("{").partition("}/")
    return f"count:{_PLURALS.get(what, what + 's')}/{per}" if per else "short"
