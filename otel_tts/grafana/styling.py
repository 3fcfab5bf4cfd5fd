"""What Grafana has in a panel's JSON beside its queries: formats, colours, words, and the description."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from otel_tts.conditions import Condition
from otel_tts.grafana.elements import JSON, PanelTarget
from otel_tts.grafana.variables import WINDOW
from otel_tts.semconv import LANGUAGE, NONE, PROVIDER, VOICE, Attribute

DASHED = (
    {
        "matcher": {"id": "byRegexp", "options": "/at least|^reference /"},
        "properties": [{"id": "custom.lineStyle", "value": {"fill": "dash"}}],
    },
)
"""What is only known to be at least so much is dashed, at that limit; so is what others are compared with."""
WRAPPED: JSON = {"custom.wrapText": True, "custom.minWidth": 300}
"""A column of sentences: they are read whole."""


def narrow(width_px: int) -> JSON:
    """A column as wide as its words, so that more of the next ones is seen on a telephone.

    Args:
        width_px: the width, in pixels.
    """
    return {"custom.width": width_px}


def organized(columns: Mapping[str, str], *excluded: str) -> list[JSON]:
    """The transformation that puts a table's columns in this order; those that are not named come last.

    Args:
        columns: the heading of each, by its field's name.
        excluded: the names of fields that are left out.
    """
    options = {
        "excludeByName": dict.fromkeys(excluded, True),
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": dict(columns),
    }
    return [{"id": "organize", "options": options}]


def own(kind: str, options: JSON, fields: JSON, overrides: Sequence[JSON] = ()) -> JSON:
    """The part of a panel that only its type has.

    Args:
        kind: of the panel.
        options: of the panel.
        fields: defaults of its fields.
        overrides: of single fields.
    """
    return {"type": kind, "options": options, "fieldConfig": {"defaults": fields, "overrides": list(overrides)}}


def formatted(unit: str) -> JSON:
    """The digits of a unit, the same everywhere: two of a percentage, so that 99.96% is not shown as 100%, and none of a count.

    Args:
        unit: Grafana's.
    """
    return {"percentunit": {"decimals": 2}, "short": {"decimals": 0}}.get(unit, {})


def words(named: Mapping[int, tuple[str, str]]) -> list[JSON]:
    """Mappings of values to words and colours.

    Args:
        named: the word and the colour of each value.
    """
    words = {str(value): {"text": text, "color": colour, "index": value + 1} for value, (text, colour) in named.items()}
    return [{"type": "value", "options": words}] if words else []


def texts(texts: Mapping[str, str]) -> list[JSON]:
    """Mappings of strings to what is shown in their place.

    Args:
        texts: the word for each value.
    """
    return [{"type": "value", "options": {value: {"text": text, "index": i} for i, (value, text) in enumerate(texts.items())}}]


def override(name: str, **properties: object) -> JSON:
    """Properties of one column, by its name.

    Args:
        name: of the field.
        properties: of the field.
    """
    listed = [{"id": identity, "value": value} for identity, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": listed}


_EXTRAPOLATED = (
    "It is an estimate: Prometheus extrapolates what it saw to both ends of the window, so the exact sum may differ a little."
)


def description(
    shows: str, bad: str, judged: Condition | None = None, runbooks: str = "", targets: Sequence[PanelTarget] = (), unit: str = ""
) -> str:
    """What a panel shows, what to check when it looks bad, and the alert whose colours it has.

    Args:
        shows: what it shows; empty: as its first query is described.
        bad: what a bad value looks like, and what to do.
        judged: the condition that judges it; None without one.
        runbooks: the address of the page of runbooks.
        targets: its queries, in PromQL.
        unit: UCUM, of their values.
    """
    asked = [target.query["expr"] for target in targets]
    values = [query.partition(" and ")[0] for query in asked]  # without what only decides whether they are shown
    is_sum = unit != "1" and any("increase(" in value for value in values)  # in a share, what is extrapolated cancels out
    over = " Each value is of the $window before it." if any(WINDOW in query for query in asked) else ""
    over += f" {_EXTRAPOLATED}" if is_sum else ""
    alert = (
        f"\n\nThe colours, or the dashed line, are those of the alert [{judged.name}]({judged.runbook(runbooks)})."
        if judged
        else ""
    )
    return f"{' '.join(shows.split())}{over}\n\n**What to check:** {bad}{alert}"


def coloured(colours: Mapping[str, str]) -> list[JSON]:
    """Series whose name is, or ends with, a word have the word's colour; so has what is at least so much of it.

    Args:
        colours: of series by their names.
    """
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/(^|· ){word}(, at least .*)?$/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for word, colour in colours.items()
    ]


_MISSING = {VOICE: "no voice named", LANGUAGE: "no language named", PROVIDER: "no provider"}
"""What a request may be without, and how that is said; what a legend is most about stands first."""


def renamed(labels: Collection[Attribute]) -> list[JSON]:
    """The transformations of a panel whose series are named after attributes.

    A label without a value is left out. Where no label has one, the legend says what was not named ("no voice named"); "none" is
    only said of kinds of which nothing happened, as of failures. Of RPCs the method alone is said.

    Args:
        labels: that tell the series apart.
    """
    missing = next((text for attribute, text in _MISSING.items() if attribute in labels), "not named")
    rules = (
        ("/^none(?: · none| to none)+(?=,|$)/", "none"),
        (f"/^(?:{NONE})?(?: · (?:{NONE})?)*(?=,|$)/", missing),
        (f"/{NONE}/g", ""), ("/( · ){2,}/g", " · "),
        ("/^( · )+|( · )+(?=,|$)/g", ""),
        (r"/(?:\w+\.)+[A-Z]\w*\//g", ""),
    )  # fmt: skip
    return [{"id": "renameByRegex", "options": {"regex": regex, "renamePattern": name}} for regex, name in rules]
