"""Sphinx's configuration: the pages of ``docs/`` as a site, with the API reference built from the docstrings. Run it by `make docs`.

A link that leads nowhere, in a page or in a docstring, fails the build.
"""

from __future__ import annotations

import re
from os.path import normpath
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

from otel_tts import __version__

ROOT = Path(__file__).absolute().parents[2]
REPOSITORY = "https://github.com/otel-tts/otel-tts"

project = "otel-tts"
copyright = "the otel-tts authors; Apache License 2.0"  # noqa: A001 - Sphinx's name for it
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"otel-tts {__version__}"
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Names of other packages are not resolved: their pages would have to be fetched, and the build needs no network.
# Internal classes and type variables may stand in a signature; they have no page.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!otel_tts\b).*"), ("py:class", r"otel_tts\.core\..*"), ("py:class", r"otel_tts\..*\.[A-Z]")]
suppress_warnings = ["misc.highlighting_failure"]  # the lexer of PromQL does not know the colon in a recorded rule's name

_logger = getLogger(__name__)
_LINK = re.compile(r"(?<=\]\()(?P<target>(?:\.\./)+[^)\s#]*)(?P<anchor>#[^)\s]*)?(?=\))")
_PICTURE = re.compile(r"!\[(?P<words>[^]]*)\]\((?P<name>images/[\w-]+)-light\.png\)")
_ANCHOR = re.compile(r'<a id="(?P<id>[^"]+)"></a>(?P<text>`[^`]+`)')  # Sphinx knows no anchors in raw HTML


def _link_into_the_repository(app: Sphinx, name: str, source: list[str]) -> None:
    """Rewrite the links of a page that lead out of ``docs/`` to links into the repository; warn of one that leads nowhere."""
    directory = (Path(app.srcdir) / name).parent

    def rewrite(link: re.Match[str]) -> str:
        target = Path(normpath(directory / link["target"]))  # not resolved: a checkout may hold symbolic links
        if target.is_relative_to(app.srcdir):
            return link[0]
        if not target.exists():
            _logger.warning("docs/%s.md links to %s, which is not in the repository.", name, link["target"])
        kind = "tree" if target.is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{target.relative_to(ROOT)}{link['anchor'] or ''}"

    source[0] = _ANCHOR.sub(r"[\g<text>]{#\g<id>}", _LINK.sub(rewrite, source[0]))


def _have_pictures_in_both_schemes(app: Sphinx, name: str, source: list[str]) -> None:
    """Show a picture that was taken in light and dark as the page is."""

    def both(picture: re.Match[str]) -> str:
        taken = [scheme for scheme in ("light", "dark") if (Path(app.srcdir) / f"{picture['name']}-{scheme}.png").exists()]
        if len(taken) < 2:
            return picture[0]
        return "".join(f"![{picture['words']}]({picture['name']}-{scheme}.png){{.only-{scheme}}}" for scheme in taken)

    source[0] = _PICTURE.sub(both, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what the pages need.

    Args:
        app: of Sphinx.
    """
    app.connect("source-read", _link_into_the_repository)
    app.connect("source-read", _have_pictures_in_both_schemes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
