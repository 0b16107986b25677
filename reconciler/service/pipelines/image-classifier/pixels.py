"""Image files to the 8 by 8 grid of ink that the digits data set uses."""

import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from reconciler.service.worker import InputFile, WorkFailed

Array = NDArray[np.float64]

GRID = 8
MAX_PIXELS = 40_000_000
# What pillow's decoders raise on broken data; it documents no common base class.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def read_ink(file: InputFile) -> Array:
    """Decodes a PNG or JPEG file to (8, 8) ink, 0 (paper) to 1 (darkest stroke); all 0 for a blank image.

    Raises `WorkFailed`: `not_an_image`, `image_broken`, `image_too_large`.
    """
    return to_grid(to_ink(_brightness(file)))


def to_ink(brightness: Array) -> Array:
    """Scales (height, width) brightness of any range to ink, 0 to 1.

    Paper is what most of the border shows, whether it is lighter or darker than the strokes.
    """
    low, high = float(brightness.min()), float(brightness.max())
    if high == low:
        return np.zeros_like(brightness)
    light: Array = (brightness - low) / (high - low)
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    return 1 - light if np.median(border) > 0.5 else light


def to_grid(ink: Array) -> Array:
    """Crops (height, width) ink to the strokes and shrinks that to (8, 8), centred, by mean over area.

    The data set was made so: its digits fill the grid from top to bottom.
    """
    rows, columns = np.nonzero(ink.max(axis=1) > 0.25)[0], np.nonzero(ink.max(axis=0) > 0.25)[0]
    if not len(rows):
        return np.zeros((GRID, GRID))
    strokes = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = strokes.shape
    side = max(height, width)
    square = np.zeros((side, side))
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = strokes
    picture = Image.fromarray(square.astype(np.float32))
    shrunk = np.asarray(picture.resize((GRID, GRID), Image.Resampling.BOX), dtype=np.float64)
    peak = shrunk.max()
    grid: Array = shrunk / peak if peak > 0 else shrunk
    return grid


def _brightness(file: InputFile) -> Array:
    """Gives (height, width) brightness, in the units of the file's own mode."""
    with warnings.catch_warnings():
        # Pillow only warns of an image that is somewhat too large; MAX_PIXELS below decides.
        warnings.simplefilter("ignore")
        try:
            with Image.open(file.path, formats=("PNG", "JPEG")) as image:
                _check_size(file, image.width * image.height)
                return _decode(image)
        except Image.DecompressionBombError as error:
            raise _too_large(file, str(error)) from error
        except UnidentifiedImageError as error:
            raise WorkFailed(
                "not_an_image",
                f"{file.file_id} is not an image that can be read as PNG or JPEG",
                "convert it to PNG, or remove it from the inputs",
                {"file": file.file_id, "num_bytes": file.num_bytes},
            ) from error
        except _BROKEN as error:
            raise WorkFailed(
                "image_broken",
                f"{file.file_id} cannot be decoded: {error}",
                "the file is damaged or was cut off; upload it again",
                {"file": file.file_id, "num_bytes": file.num_bytes},
            ) from error


def _decode(image: Image.Image) -> Array:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):  # 16 bits and more, which pillow would clip to 8
        return np.asarray(upright, dtype=np.float64)
    if not upright.has_transparency_data:
        return np.asarray(upright.convert("L"), dtype=np.float64)
    light, cover = np.moveaxis(np.asarray(upright.convert("LA"), dtype=np.float64), 2, 0)
    cover = cover / 255
    # Strokes on nothing: put paper of the other brightness under them.
    drawn = (light * cover).sum() / max(cover.sum(), 1e-9)
    blended: Array = light * cover + (0 if drawn > 127 else 255) * (1 - cover)
    return blended


def _check_size(file: InputFile, pixels: int) -> None:
    if pixels > MAX_PIXELS:
        raise _too_large(file, f"{pixels} pixels")


def _too_large(file: InputFile, found: str) -> WorkFailed:
    return WorkFailed(
        "image_too_large",
        f"{file.file_id} is too large: {found}, the limit is {MAX_PIXELS} pixels",
        "scale it down",
        {"file": file.file_id, "max_pixels": MAX_PIXELS},
    )
