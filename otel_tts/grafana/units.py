"""Grafana's names for the registry's units."""

from __future__ import annotations

from collections.abc import Mapping

_UNITS: Mapping[str, str] = {
    "1": "percentunit",
    "s": "s",
    "s/s": "none",
    "By": "bytes",
    "dB": "dB",
    "{request}/s": "reqps",
    "{call}/s": "reqps",
    "{USD}": "currencyUSD",
    "{USD}/h": "currencyUSD",
}
NUMBER = "none"
"""A plain number: what a ratio is that is no share, as the real-time factor."""


def grafana_unit(ucum: str) -> str:
    """Grafana's id of a UCUM unit: that of a count or a rate of counts where the unit says only what is counted."""
    if ucum in _UNITS:
        return _UNITS[ucum]
    return "cps" if ucum.endswith("/s") else "short"
