"""Where pictures are, how wide they are, and how they are made small."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SIZES = {1440: 900, 390: 844}
"""Heights of windows by their widths, in pixels."""
SCHEMES = ("light", "dark")


def compress(picture: Path) -> None:
    """Write a picture again with few colours, and say how large it is. An octree keeps colours that are rare, as those of legends.

    Args:
        picture: a PNG file.
    """
    Image.open(picture).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        picture, optimize=True
    )
    print(picture.name, picture.stat().st_size // 1000, "kB", flush=True)
