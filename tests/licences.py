"""What licences say, as far as a test must know: their families, read from names or from whole texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

REFUSED = {"AGPL", "SSPL", "BUSL", "Elastic", "Commons Clause", "RSAL", "PolyForm"}
"""Families of which nothing is built, installed or vendored."""
GPL = "GPL"
_TEXTS: Mapping[str, str] = {
    "AGPL": "GNU AFFERO GENERAL PUBLIC LICENSE",  # in capitals as its title only: others name it
    "SSPL": "Server Side Public License",
    "BUSL": "Business Source License",
    "Elastic": "Elastic License",
    "Commons Clause": "Commons Clause",
    "RSAL": "Redis Source Available License",
    "PolyForm": "PolyForm",
    "LGPL": "GNU LESSER GENERAL PUBLIC LICENSE",
    "GPL": "GNU GENERAL PUBLIC LICENSE",
    "MPL": "Mozilla Public License",
    "Apache": "Apache License",
    "MIT": "Permission is hereby granted, free of charge",
    "BSD": "Redistribution and use in source and binary forms",
    "ISC": "Permission to use, copy, modify, and",
    "PSF": "PYTHON SOFTWARE FOUNDATION LICENSE",
    "Unlicense": "This is free and unencumbered software",
}
_NAMES: Mapping[str, str] = {
    "AGPL": r"AGPL|Affero",
    "SSPL": r"SSPL|Server Side Public",
    "BUSL": r"BUSL|BSL-1\.1|Business Source",
    "Elastic": r"\bElastic",
    "Commons Clause": r"Commons[- ]Clause",
    "RSAL": r"RSAL",
    "PolyForm": r"PolyForm",
    "LGPL": r"LGPL|Lesser General Public",
    "GPL": r"(?<![AL])GPL|(?<!Affero )(?<!Lesser )General Public License",
    "MPL": r"MPL|Mozilla Public",
    "Apache": r"Apache",
    "MIT": r"\bMIT\b|MIT-",
    "BSD": r"BSD",
    "ISC": r"\bISC\b",
    "PSF": r"PSF|Python Software Foundation|Python-2\.0|CNRI-Python",
    "Unlicense": r"Unlicense|Public Domain|CC0|WTFPL",
    "other permissive": r"Zlib|HPND|BlueOak|CC-BY-4\.0|BSL-1\.0|Historical Permission|Artistic-2",
}


def of_text(text: str) -> set[str]:
    """The families whose text is in a licence file."""
    joined = " ".join(text.split())
    return {family for family, phrase in _TEXTS.items() if phrase in joined}


def of_name(name: str) -> set[str]:
    """The families that a licence's name, or an expression of several, names. Of alternatives (OR) the best is taken."""
    ways = [{family for family, pattern in _NAMES.items() if re.search(pattern, way)} for way in re.split(r"\bOR\b", name)]
    return min(ways, key=badness)


def badness(families: Iterable[str]) -> int:
    """How bad it is: 3 for one that is refused, 2 for none, 1 for GPL, else 0."""
    families = set(families)
    return 3 if families & REFUSED else 2 if not families else 1 if GPL in families else 0
