"""What a file's content says about itself."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError


def attributes(path: Path, file_type: str) -> dict[str, Any]:
    """CSV: `num_rows` (without the header), `num_columns`, `column_headers`. Images: `width`, `height` (pixels),
    `num_channels`, `channel_bands`. Empty for other types and for content that is not what its type says.
    """
    if file_type == "text/csv":
        return _csv(path)
    if file_type.startswith("image/"):
        return _image(path)
    return {}


def _csv(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            headers = next(reader, [])
            rows = sum(1 for row in reader if row)
    except (UnicodeDecodeError, csv.Error):
        return {}
    return {"num_rows": rows, "num_columns": len(headers), "column_headers": headers}


def _image(path: Path) -> dict[str, Any]:
    try:
        with Image.open(path) as image:
            bands = list(image.getbands())
            return {
                "width": image.width,
                "height": image.height,
                "num_channels": len(bands),
                "channel_bands": bands,
            }
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError):
        return {}
