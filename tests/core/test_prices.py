"""Prices: given by the adopter, checked when they are given, never guessed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from otel_tts import Settings, Telemetry
from otel_tts.core.prices import Prices
from otel_tts.settings import SettingError

GIVEN = {"openai": {"tts-1": 15.0, "*": 30.0}, "piper": 0.0, "azure": {"neural": 16}}


@pytest.mark.parametrize(
    ("provider", "model", "cost"),
    [
        ("openai", "tts-1", 15.0),
        ("openai", "tts-1-hd", 30.0),
        ("openai", None, 30.0),
        ("piper", "joe", 0.0),
        ("piper", None, 0.0),
        ("azure", "neural", 16.0),
        ("azure", "hd", None),
        ("azure", None, None),
        ("hibari", "x", None),
    ],
)
def test_cost_of_a_million_characters(provider: str, model: str | None, cost: float | None) -> None:
    """The model's own price, else that of the provider's others; where there is none it is not known, and not 0."""
    cost_usd = Prices(GIVEN).cost(provider, model, 1_000_000)
    assert cost_usd == (None if cost is None else pytest.approx(cost))


@pytest.mark.parametrize(
    ("provider", "model", "named"),
    [
        ("opneai", "tts-1", "the provider 'opneai' and the model 'tts-1': * The nearest name that has a price: 'openai'."),
        ("azure", "neurall", "the provider 'azure' and the model 'neurall': * The nearest name that has a price: 'neural'."),
        ("azure", None, "the provider 'azure': * Names that have a price: 'neural'."),
        ("x", None, "the provider 'x': * Names that have a price: 'azure', 'openai', 'piper'."),
    ],
)
def test_a_name_that_has_no_price_is_said_once(
    caplog: pytest.LogCaptureFixture, provider: str, model: str | None, named: str
) -> None:
    """A misspelt provider or model is one line, with the nearest names; without any prices there is none."""
    given, none = Prices(GIVEN), Prices()
    with caplog.at_level(logging.WARNING, "otel_tts"):
        for prices in (given, given, none):
            assert prices.cost(provider, model, 10) is None
    (line,) = caplog.messages
    before, after = named.split(" * ")
    assert f"none for {before} " in line
    assert after in line


def test_names_without_a_price_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """However many models a host has, ten lines are the most."""
    prices = Prices(GIVEN)
    with caplog.at_level(logging.WARNING, "otel_tts"):
        for number in range(100):
            prices.cost("azure", f"model-{number}", 10)
    assert len(caplog.messages) == 10


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf"), True, "15", None])
def test_a_price_that_is_none(price: Any) -> None:
    """The fault names whose price it is, what it is and what it has to be."""
    with pytest.raises(
        ValueError, match=r"The price of openai / tts-1 is .*; it takes US dollars per million characters, 0 or more\."
    ):
        Telemetry(prices={"openai": {"tts-1": price}})


@pytest.mark.parametrize("wrong", ["prices.toml", ["app.tenant"], 15.0, {"openai"}, True])
@pytest.mark.parametrize("argument", ["prices", "attributes"])
def test_an_argument_that_is_no_mapping_is_named(argument: str, wrong: Any) -> None:
    """The fault names the argument, what it is and what it has to be."""
    with pytest.raises(ValueError, match=rf"^{argument}=.* are none\. Give a mapping of "):
        Telemetry(**{argument: wrong})


def test_prices_of_a_file(tmp_path: Path) -> None:
    """The file that the setting names holds the same as TOML."""
    path = tmp_path / "prices.toml"
    path.write_text(
        '[openai.usd_per_million_characters]\ntts-1 = 15.0\n"*" = 30\n[piper]\nusd_per_million_characters = 0\n', encoding="utf-8"
    )
    prices = Prices.from_file(path)
    costs = [prices.cost(*asked, 1_000_000) for asked in (("openai", "tts-1"), ("openai", "x"), ("piper", "joe"), ("azure", "x"))]
    assert costs == [15.0, 30.0, 0.0, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot be read: No such file or directory\.$"),
        ("[openai", r"is no TOML: "),
        ("[openai]\nprice = 1", r"needs a table for each provider with 'usd_per_million_characters' in it\.$"),
        ("openai = 1", r"needs a table for each provider"),
        ("[openai]\nusd_per_million_characters = -1", r"is not usable: The price of openai / \* is -1;"),
        (b"\xff\xfe", r"is no text in UTF-8\.$"),
    ],
)
def test_a_file_of_prices_that_is_none(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    """A bad file is found when the Telemetry is made, and the message names it."""
    path = tmp_path / "prices.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingError, match=message) as raised:
        Telemetry(settings=Settings.load(environ={"OTEL_TTS_PRICES": str(path)}))
    assert "prices.toml" in str(raised.value)


def test_prices_in_code_come_before_those_of_the_file(tmp_path: Path) -> None:
    """An argument goes before the environment: the file is not even looked for."""
    Telemetry(prices={}, settings=Settings.load(environ={"OTEL_TTS_PRICES": str(tmp_path / "none")}))
