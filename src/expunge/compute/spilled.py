"""Images that need not fit into memory: in a tensor, or in a file that has no name and ends with the process."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.errors import OutputError


class FileImages:
    """Images in a temporary file, read and written by row numbers like those of a tensor.

    The file is unlinked as soon as it is open: a process that is killed leaves no image behind.

    Args:
        like: one image or more, (..., c, h, w); rows have its shape, type and device.
        count: number of rows; they are 0 until they are written.
        folder: where the file lies; None: the system's own place for temporary files.

    Raises:
        OutputError: the file can't be made, read or written.
    """

    def __init__(self, like: Float[Tensor, "... c h w"], count: int, folder: Path | None) -> None:
        self._like = like.new_empty(0, *like.shape[-3:])
        self._count = count
        self._bytes_of_row = like.shape[-3:].numel() * like.element_size()
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - open as long as this object
            self._file.truncate(count * self._bytes_of_row)
        except OSError as error:
            raise OutputError(str(folder), "a folder for a temporary file", str(error)) from error

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: Int[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        buffer = bytearray(len(rows) * self._bytes_of_row)
        for place, row in enumerate(rows.tolist()):
            start = place * self._bytes_of_row
            self._file.seek(row * self._bytes_of_row)
            _move(self._file.readinto, memoryview(buffer)[start : start + self._bytes_of_row])
        if not buffer:
            return self._like
        flat = torch.frombuffer(buffer, dtype=self._like.dtype)
        return flat.view(-1, *self._like.shape[1:]).to(self._like.device)

    def __setitem__(self, rows: Int[Tensor, " b"], images: Float[Tensor, "b c h w"]) -> None:
        for row, image in zip(rows.tolist(), images.detach().cpu().contiguous(), strict=True):
            self._file.seek(row * self._bytes_of_row)
            _move(self._file.write, memoryview(image.numpy().tobytes()))


def _move(how: Callable[[memoryview], int | None], what: memoryview) -> None:
    """Read or write all of it, though a file without a buffer may move a part at a time.

    Raises:
        OutputError: there is no room, or nothing more to read.
    """
    while len(what):
        try:
            moved = how(what)
        except OSError as error:
            raise OutputError("temporary file", "room for adversarial examples", str(error)) from error
        if not moved:
            raise OutputError("temporary file", "all bytes of an image", f"{len(what)} too few")
        what = what[moved:]


def allocate_images(
    like: Float[Tensor, "... c h w"], count: int, *, memory_bytes: int, folder: Path | None
) -> Float[Tensor, "n c h w"] | FileImages:
    """Return room for `count` images, in memory if they take at most `memory_bytes`, otherwise in a file."""
    if count * like.shape[-3:].numel() * like.element_size() <= memory_bytes:
        return like.new_zeros(count, *like.shape[-3:])
    return FileImages(like, count, folder)
