"""Prices of speech, as the application states them. None is built in, and an unknown price is never 0."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from otel_tts.core import clean
from otel_tts.settings.named_file import PRICES, read_toml

_logger = logging.getLogger(__name__)

_PER = 1_000_000
_ALL = "*"
_EXPLAINED = 10  # providers and models without a price that are named in the log
_KEY = "usd_per_million_characters"


class Prices:
    """US dollars per million characters, by provider and model.

    ``{"openai": {"tts-1": 15.0}, "piper": 0.0}``: a number for all models of a provider, or a mapping by model, in which ``"*"``
    means all other models. In a TOML file, each price has the key ``usd_per_million_characters``::

        [openai.usd_per_million_characters]
        tts-1 = 15.0

        [piper]
        usd_per_million_characters = 0.0

    Args:
        prices: US dollars for a million characters, by provider, or by provider and model; None: no price is known.
    """

    def __init__(self, prices: Mapping[str, Any] | None = None) -> None:
        """Read prices as described above.

        Raises:
            ValueError: they are no mapping, or a price is not a finite number of 0 or more.
        """
        self._explained = False
        self._missing: dict[tuple[str, str | None], object] = {}
        self._prices: dict[tuple[str, str], float] = {}
        if not isinstance(prices, Mapping | None):
            raise ValueError(  # noqa: TRY004 - as of all that is wrong with an argument
                f"prices={clean.shown(prices)} are none. Give a mapping of providers to prices. The setting prices takes a file."
            )
        for provider, entry in (prices or {}).items():
            for model, price in (entry if isinstance(entry, Mapping) else {_ALL: entry}).items():
                self._prices[clean.name(provider), clean.name(model)] = _price(price, provider, model) / _PER

    @classmethod
    def from_file(cls, path: str | Path) -> Prices:
        """Read prices from a TOML file.

        Args:
            path: of the TOML file.

        Raises:
            SettingError: the file cannot be read, is not TOML, or contains something that is not a price.
        """
        tables = read_toml(PRICES, path)
        try:
            return cls({provider: table[_KEY] for provider, table in tables.items()})
        except (KeyError, TypeError):
            raise PRICES.refused(path, f"needs a table for each provider with {_KEY!r} in it.") from None
        except ValueError as error:
            raise PRICES.refused(path, f"is not usable: {error}") from None

    def cost(self, provider: str, model: str | None, characters: int) -> float | None:
        """Return the US dollars for ``characters`` code points; None if the price is unknown.

        Args:
            provider: who made the audio.
            model: with which model; None: unknown.
            characters: how many code points.
        """
        if not self._prices:
            return None
        price = self._prices.get((provider, model or _ALL), self._prices.get((provider, _ALL)))
        if price is None:
            self._explain_missing(provider, model)
            return None
        return price * characters

    def _explain_missing(self, provider: str, model: str | None) -> None:
        """Say once of a provider and model that there are prices, but none for them: a name in the price table may be misspelt."""
        this = object()
        if len(self._missing) >= _EXPLAINED or self._missing.setdefault((provider, model), this) is not this:
            return
        models = [model for priced, model in self._prices if priced == provider]
        names, asked = (models, model or "") if models else (sorted({priced for priced, _ in self._prices}), provider)
        near = get_close_matches(asked, names, 3)
        _logger.warning(
            "There are prices, but none for the provider %s%s: its requests have no cost and count as unpriced. "
            "%s: %s. Add a price, or correct the name in the prices; 0 is a price, too. This is said once.",
            ascii(provider),
            f" and the model {model!a}" if model else "",
            "The nearest name that has a price" if near else "Names that have a price",
            ", ".join(map(ascii, near or names[:5])),
        )

    def explain_text(self) -> None:
        """Say once why a request has no cost although there are prices: nobody knows how much text an attempt was given."""
        if not self._explained:
            self._explained = True
            _logger.warning(
                "The cost of a request is unknown: nobody states its text, or several attempts spoke parts of it, and which provider was "
                "given how much is not known. Give synthesis() its text, or each attempt its own, as in "
                "attempt(provider, model, text=sentence). This is said once."
            )


def _price(given: Any, provider: object, model: object) -> float:
    try:
        if not isinstance(given, bool) and (price := clean.number(given)) >= 0:
            return price
    except ValueError:
        pass
    raise ValueError(
        f"The price of {provider} / {model} is {clean.shown(given)}; it takes US dollars per million characters, 0 or more."
    )
