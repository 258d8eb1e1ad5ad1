"""Images that were made for a classifier once, kept in groups in the user's cache."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from jaxtyping import UInt8
from platformdirs import user_cache_path
from safetensors.torch import load_file
from torch import Tensor

from expunge.base.errors import OutputError
from expunge.base.tensors import write_tensors
from expunge.compute.runtime import Advance

CACHE_VARIABLE = "EXPUNGE_CACHE"
WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class GroupCache:
    """The groups of one classifier that have been made, a file each.

    Args:
        folder: of the classifier and the settings.
        shape: of a group, (n, c, h, w).
    """

    folder: Path
    shape: tuple[int, ...]

    @classmethod
    def of(cls, key: str, shape: tuple[int, ...]) -> "GroupCache":
        """Return the cache of what `key` names, in the folder of EXPUNGE_CACHE or in the user's own."""
        chosen = os.environ.get(CACHE_VARIABLE)
        folder = Path(chosen) if chosen else user_cache_path("expunge")
        return cls(folder / "inverted" / hashlib.sha256(key.encode()).hexdigest(), shape)

    @contextmanager
    def locked(self, advance: Advance) -> Iterator[None]:
        """Let one process at a time make a group, so that those that wait find it; `advance` is called meanwhile."""
        lock = FileLock(self.folder / "lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                with suppress(Timeout):
                    lock.acquire(timeout=WAIT_SECONDS)
                    break
                advance(0)
        except (OSError, NotImplementedError):
            pass  # a cache that can't be locked is still read, and written where that goes
        try:
            yield
        finally:
            lock.release()

    def read_all(self, numbers: Iterable[int]) -> dict[int, UInt8[Tensor, "group c h w"]]:
        """Return those of these groups that are there, by number."""
        return {number: levels for number in numbers if (levels := self.read(number)) is not None}

    def read(self, number: int) -> UInt8[Tensor, "group c h w"] | None:
        """Return a group; None if it is not there, or damaged."""
        try:
            levels = load_file(self._path(number))["levels"]
        except Exception:  # a damaged file raises errors of many kinds, and all it costs is time
            return None
        return levels if levels.shape == self.shape and levels.dtype == torch.uint8 else None

    def write(self, number: int, levels: UInt8[Tensor, "group c h w"]) -> None:
        """Keep a group, if that is possible."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(self._path(number), {"levels": levels}, {})
        except (OSError, OutputError):
            return  # a cache that can't be written costs time, nothing else

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.safetensors"
