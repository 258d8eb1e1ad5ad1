"""One picture that shows the pictures of a request beside the nearest training images."""

import io
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from expunge.base.disk import write_bytes
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.requests.copies import Near

SIDE, LINE, GAP = 96, 14, 8
"""Pixels of a picture, of a line of text below it, and between pictures."""
ACROSS = SIDE + GAP
DOWN = SIDE + 2 * LINE + GAP


def write_sheet(path: Path, rows: ForgetSet, training: Images, found: Sequence[Sequence[Near]]) -> None:
    """Write a PNG file with a line for each row: its picture, then the nearest training images, each with its row.

    Raises:
        OutputError: it can't be written.
    """
    columns = 1 + max((len(near) for near in found), default=0)
    sheet = Image.new("RGB", (columns * ACROSS + GAP, len(rows) * DOWN + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for line, near in enumerate(found):
        _put(sheet, draw, (0, line), rows.x[line], (rows.ids[line], ""))
        for column, one in enumerate(near, 1):
            figures = "same" if one.same else f"{one.correlation:.2f}, {one.bits} bits"
            mark = " *" if one.alike else ""
            _put(sheet, draw, (column, line), training.load([one.row])[0], (f"{one.row}{mark}", figures))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    write_bytes(path, stream.getvalue())


def png_of(x: Float[Tensor, "c h w"]) -> bytes:
    """Return a PNG file of pixels within 0..1."""
    stream = io.BytesIO()
    _image(x).save(stream, "PNG")
    return stream.getvalue()


def _image(x: Float[Tensor, "c h w"]) -> Image.Image:
    levels = (255 * x.detach().cpu().clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0])


def _put(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    x: Float[Tensor, "c h w"],
    lines: tuple[str, str],
) -> None:
    left, top = GAP + place[0] * ACROSS, GAP + place[1] * DOWN
    image = _image(x).convert("RGB")
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    sheet.paste(image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR), (left, top))
    for number, text in enumerate(lines):
        draw.text((left, top + SIDE + number * LINE), text[:16], fill="black")
