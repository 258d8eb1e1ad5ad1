"""NumPy archives: written so that equal arrays give equal bytes, read without trust in what they say of themselves."""

import io
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expunge.base.errors import DataError

Arrays = dict[str, NDArray[np.generic]]
ENDING = ".npy"
CONVERSION = 'pickled objects are not read; save names as dtype "str"'


def arrays_to_bytes(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return the content of an .npz file; `np.savez` would note the time in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}{ENDING}"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return stream.getvalue()


def read_arrays(path: Path, names: Sequence[str] | None = None) -> Arrays:
    """Return the arrays of an .npz file, of these names where they are there; nothing is unpickled.

    Headers are read first: an array that they make larger than its part of the file, or than the machine's memory,
    is not allocated.

    Args:
        path: the file.
        names: which arrays; None for all.

    Raises:
        DataError: no such file, a damaged one, one that holds pickled objects, or more than fits into memory.
    """
    if not path.is_file():
        raise DataError(str(path), "a file", "none there")
    try:
        with zipfile.ZipFile(path) as archive:
            known = {each.filename.removesuffix(ENDING): each for each in archive.infolist()}
            chosen = {name: each for name, each in known.items() if names is None or name in names}
            _check_size(path, sum(each.file_size for each in chosen.values()))
            return {name: _read(path, archive, each) for name, each in chosen.items()}
    except DataError:
        raise
    except zipfile.BadZipFile as error:
        if _is_single_array(path):
            raise DataError(str(path), "an .npz archive", "a single array", "use np.savez") from error
        raise _damaged(path, error) from error
    except Exception as error:  # zipfile and NumPy raise nearly anything for what isn't whole
        raise _damaged(path, error) from error


def _read(path: Path, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> NDArray[np.generic]:
    with archive.open(part) as stream:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(stream)
        if dtype.hasobject:
            raise DataError(str(path), "plain arrays", "pickled objects", CONVERSION)
        said = math.prod(shape) * dtype.itemsize
        if said > part.file_size or min(shape, default=0) < 0:
            raise DataError(
                f"{path}: {part.filename}", f"at most {part.file_size:,} bytes", f"a header that says {said:,}"
            )
    with archive.open(part) as stream:
        array: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _check_size(path: Path, size: int) -> None:
    """Refuse what unpacks to more than the machine's memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return
    if size > memory:
        raise DataError(str(path), f"arrays that fit into {memory:,} bytes of memory", f"{size:,} bytes")


def _is_single_array(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX


def _damaged(path: Path, error: Exception) -> DataError:
    reason = f"{type(error).__name__}: {error}".split("\n")[0]
    return DataError(str(path), "a whole .npz archive", reason, "the file is damaged; make it anew")
