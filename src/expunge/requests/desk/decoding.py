"""Uploaded pictures and tables are read in a process of their own, with little time and memory: they may be hostile."""

import csv
import io
import multiprocessing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

from PIL import Image

from expunge.base.errors import DataError
from expunge.requests.desk.limits import (
    DECODING_BYTES,
    DECODING_SECONDS,
    MOST_PICTURES,
    MOST_PIXELS,
    MOST_PIXELS_TOGETHER,
)

TABLE_COLUMNS = ("path", "id", "label", "new_label")
MOST_LINES = 10_000
LONGEST_CELL = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """One file as it came: its name, which is used for nothing but the table and messages, and its content."""

    name: str
    content: bytes


def decode_apart(pictures: Sequence[Upload], table: bytes | None) -> tuple[list[bytes], list[dict[str, str]]]:
    """Return the pictures as PNG files of 8-bit RGB, and the lines of the table, decoded in another process.

    Raises:
        DataError: a picture or the table can't be read, is too large, or takes too long.
    """
    context = _context()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_decode_here, args=(there, list(pictures), table), daemon=True)
    process.start()
    there.close()
    try:
        found = here.recv() if here.poll(DECODING_SECONDS) else None
    except EOFError:
        found = None
    finally:
        process.kill()
        process.join()
        here.close()
    if found is None:
        hint = "send fewer or smaller pictures"
        raise DataError("pictures", f"what is read in {DECODING_SECONDS} s and 2 GiB", "more, or damaged files", hint)
    if isinstance(found, DataError):
        raise found
    decoded: tuple[list[bytes], list[dict[str, str]]] = found
    return decoded


def read_table(content: bytes) -> list[dict[str, str]]:
    r"""Return the lines of a CSV table with the columns path or id, label, new_label; missing cells are empty.

    Raises:
        DataError: no such table.

    >>> read_table(b"path,label\na.png,3")
    [{'path': 'a.png', 'id': '', 'label': '3', 'new_label': ''}]
    """
    try:
        text = content.decode("utf-8-sig")
        lines = list(csv.DictReader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError("table", "a CSV table in UTF-8", f"{error}"[:200]) from error
    columns = set(lines[0]) if lines else set()
    if not columns & {"path", "id"} or len(lines) > MOST_LINES:
        found = ", ".join(str(name)[:20] for name in list(columns)[:5] if name) or "no line"
        raise DataError("table", f"columns path or id, and label, in at most {MOST_LINES} lines", found)
    return [{name: _cell(line, name) for name in TABLE_COLUMNS} for line in lines]


def _cell(line: Mapping[str | None, Any], name: str) -> str:
    text = str(line.get(name) or "").strip()
    if len(text) > LONGEST_CELL:
        raise DataError(f"table, column {name}", f"at most {LONGEST_CELL} characters", str(len(text)))
    return text


def _context() -> ForkServerContext | SpawnContext:
    """Return how to start the process; the fork server reads this module once, and has no thread that could hang."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["expunge.requests.desk.decoding", "expunge.data.sources.decoding"])
    return context


def _decode_here(pipe: Connection, pictures: Sequence[Upload], table: bytes | None) -> None:
    """Send what was decoded, or the error; a process that takes too much is killed by the system before it does."""
    from expunge.data.sources.decoding import Encoded, decode  # noqa: PLC0415 - the server itself needs no torch

    _limit_this_process()
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        if len(pictures) > MOST_PICTURES:
            raise DataError("pictures", f"at most {MOST_PICTURES}", str(len(pictures)))
        decoded, pixels = [], 0
        for number, picture in enumerate(pictures, 1):
            image = decode(Encoded(f"picture {number}", picture.content)).image
            pixels += image.width * image.height
            if pixels > MOST_PIXELS_TOGETHER:
                raise DataError("pictures", f"at most {MOST_PIXELS_TOGETHER:,} pixels together", "more")
            stream = io.BytesIO()
            image.save(stream, "PNG", compress_level=1)
            decoded.append(stream.getvalue())
        pipe.send((decoded, [] if table is None else read_table(table)))
    except DataError as error:
        pipe.send(error)
    except MemoryError:
        pipe.send(None)


def _limit_this_process() -> None:
    """Take from this process the right to more memory and time than decoding needs, and to write files."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        with open("/proc/self/statm") as stream:  # noqa: PTH123 - no path of the user's
            held = int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + DECODING_BYTES, held + DECODING_BYTES))
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_CPU, (DECODING_SECONDS, DECODING_SECONDS))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
