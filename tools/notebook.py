"""The pictures in docs/notebooks.md: made by its own programs.

python -m tools.notebook
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.reader import Reader

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "notebooks.md"


def draw(directory: Path) -> list[Path]:
    """Run the page in a directory.

    Args:
        directory: the folder.

    Returns:
        the pictures that its programs have written there.
    """
    Reader(PAGE, directory).follow()
    return sorted(directory.glob("notebook-*.png"))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        for picture in draw(Path(temporary)):
            print(shutil.copy(picture, ROOT / "docs" / "images" / picture.name))
