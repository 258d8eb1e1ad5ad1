"""Rows by what people call images: their ids, or their files as a path from anywhere."""

import os
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from expunge.base.cells import unescape_cell
from expunge.base.errors import ForgetSetError, nearest
from expunge.data.images import Images, Subset
from expunge.data.sources.file_images import FileImages, PathsBelow

MOST_COMPARED = 20_000
"""Ids among which the nearest is looked for by every letter; of more, only one of the same file name is."""
SHOWN = 5


def rows_of_names(names: Sequence[str], images: Images, *, place: str) -> list[int]:
    """Return the row of each name.

    A name is an id; or the path of the image's file, from the current folder, from the root, or from any folder above
    the file as far as that is unmistakable, so that a file name is enough where no other file bears it.

    Args:
        names: as they are written, in a cell of a table or elsewhere.
        images: what the rows are rows of.
        place: where the names stand, for the message.

    Raises:
        ForgetSetError: some are no names of images, or names of several.
    """
    ids = images.ids
    row_of = {name: row for row, name in enumerate(ids)}
    found = [row_of.get(name, row_of.get(unescape_cell(name))) for name in names]
    if None in found:
        files = _Files(images)
        found = [files.find(name) if row is None else row for name, row in zip(names, found, strict=True)]
    unknown = [name for name, row in zip(names, found, strict=True) if row is None]
    if unknown:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        said = f"{', '.join(unknown[:SHOWN])}{more}"
        raise ForgetSetError(place, f"ids of the training images, such as {ids[0]}", said, _hint(unknown[0], ids))
    return [row for row in found if row is not None]


class _Files:
    """The files of images by the ends of their paths; each length of end is collected when it is first asked for."""

    def __init__(self, images: Images) -> None:
        self._ids = images.ids
        self._paths = [_parts(name) for name in _names_of(images)]
        self._ends: dict[int, dict[tuple[str, ...], list[int]]] = {}

    def find(self, name: str) -> int | None:
        """Return the row of the file that `name` means; None if there is none.

        Raises:
            ForgetSetError: there are several.
        """
        written = name.replace("\\", "/")
        tried = [_parts(str(Path(written).absolute()))]
        if not Path(written).is_absolute():
            tried.append(_parts(written))
        for parts in tried:
            rows = self._ending(parts) if ".." not in parts else []
            if len(rows) > 1:
                several = " and ".join(self._ids[row] for row in rows[:SHOWN])
                raise ForgetSetError("path", "the name of one image", f"{name}, which is {several}")
            if rows:
                return rows[0]
        return None

    def _ending(self, parts: tuple[str, ...]) -> list[int]:
        """Return the rows of the files whose paths end so."""
        count = len(parts)
        if count not in self._ends:
            ends = self._ends[count] = defaultdict(list)
            for row, path in enumerate(self._paths):
                ends[path[-count:]].append(row)
        return self._ends[count].get(parts, []) if count else []


def _names_of(images: Images) -> list[str]:
    """Return the files as absolute paths where images are files, else the ids."""
    if isinstance(images, Subset):
        names = _names_of(images.images)
        return [names[row] for row in images.rows]
    if isinstance(images, FileImages) and isinstance(images.paths, (list, PathsBelow)):
        return [str(Path(str(path)).absolute()) for path in images.paths]
    return list(images.ids)


def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(os.path.normpath(path).replace(os.sep, "/")).parts


def _hint(name: str, ids: Sequence[str]) -> str:
    """Return which id may have been meant: the one that ends most like it, else the nearest."""
    if name.isdecimal():
        return ""
    written = name.replace("\\", "/").lower()
    last = written.rpartition("/")[2]
    same = [each for each in ids if each.lower().rpartition("/")[2] == last]
    if same:
        return f"did you mean {max(same, key=lambda each: _shared_end(each.lower(), written))}?"
    close = nearest(written, {each: each for each in ids}) if len(ids) <= MOST_COMPARED else []
    return f"did you mean {close[0]}?" if close else ""


def _shared_end(one: str, other: str) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
