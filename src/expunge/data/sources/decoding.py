"""One image file turned into upright pixels in colour or in grey, or an error that names the file."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from expunge.base.errors import DataError

MODE_NAMES = {"1": "black-and-white", "L": "greyscale", "LA": "greyscale", "P": "palette", "PA": "palette"}
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP")
"""What a file's content may be, whatever its name says; some of Pillow's other formats start other programs."""
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112
LISTENING = threading.Lock()
"""Held while Pillow's warnings are caught: Python has one set of warning filters for all threads."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image, and what had to be done to it beyond reading (empty for a plain file of the same mode)."""

    image: Image.Image
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """The content of an image file that is no file, and what to call it."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


def decode(path: Path | Encoded, mode: str = "RGB") -> Decoded:
    """Return the image in `path` as upright 8-bit RGB, or with `mode` "L" in grey, which Pillow makes of that.

    Greyscale (8 and 16 bits), palette and CMYK images are converted, transparency is dropped (the colours below
    it stay, as in torchvision), and the orientation that a camera noted in the EXIF data is applied. Torchvision's
    loaders do not turn images: a classifier that was trained on photographs lying on their side saw them so.
    Of a file with several frames or pages the first is taken. What Pillow warns of, such as damaged EXIF data, becomes
    one of the changes.

    Raises:
        DataError: the file is not there, cannot be read or is cut off, holds more pixels than Pillow takes for safe
            (a decompression bomb), or has a pixel type that is no picture (32-bit integers or floats).
    """
    complaints: list[str] = []
    try:
        with _listening(complaints):
            opened = Image.open(BytesIO(path.content) if isinstance(path, Encoded) else path, formats=FORMATS)
        with opened as image:
            frames = getattr(image, "n_frames", 1)
            image.load()  # the slow part, which may run in many threads at once
            with _listening(complaints):
                decoded = _upright(image, path, mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            str(path), f"at most {Image.MAX_IMAGE_PIXELS} pixels", "more: a decompression bomb?", "make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        known = f"an image ({', '.join(FORMATS)})"
        if _size_of(path) == 0:
            raise DataError(str(path), known, "an empty file", "fetch it anew") from error
        raise DataError(str(path), known, "another format, or a damaged header", "convert it to PNG") from error
    except FileNotFoundError as error:
        where = "" if Path(str(path)).is_absolute() else f"a relative path starts in the current folder, {Path.cwd()}"
        raise DataError(str(path), "an image file", "none there", where) from error
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything for what isn't whole
        raise DataError(str(path), "a whole image", f"{error}", "the file is damaged; fetch it anew") from error
    said = tuple(f"read although Pillow warned: {complaint}" for complaint in complaints[:1])
    first = ("taken from the first of several frames or pages",) if frames > 1 else ()
    return Decoded(decoded.image, said + first + decoded.changes)


def _size_of(path: Path | Encoded) -> int:
    return len(path.content) if isinstance(path, Encoded) else path.stat().st_size


@contextmanager
def _listening(complaints: list[str]) -> Iterator[None]:
    """Append what Pillow warns of in the block to `complaints`; a decompression bomb is raised."""
    with LISTENING, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
    complaints += [str(warning.message) for warning in caught]


def _upright(image: Image.Image, path: Path | Encoded, mode: str) -> Decoded:
    changes = []
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        image = ImageOps.exif_transpose(image)
        changes.append("turned upright as its EXIF data say")
    before, after = (MODE_NAMES.get(each, each) for each in (image.mode, mode))
    if before != after:
        changes.append(f"converted from {before} to {after}")
    upright = to_rgb(image, str(path))
    return Decoded(upright if mode == "RGB" else upright.convert(mode), tuple(changes))


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Return a picture of any mode in 8-bit RGB, as `decode` does; it is not turned.

    Args:
        image: the picture.
        name: what to call it in an error.

    Raises:
        DataError: it has 32 bits a channel.
    """
    if image.mode in SIXTEEN_BITS:
        eight_bits = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(eight_bits.round().astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError(name, "8 or 16 bits a channel", f"32 (Pillow mode {image.mode})", "save it as PNG or JPEG")
    if image.mode in ("P", "PA"):
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")
