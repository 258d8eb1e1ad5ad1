"""Attacks by files from outside: hostile ones that want to run something, and damaged ones that want a traceback."""

import io
import json
import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as save_safetensors
from table import Attack, Tried, Try
from torch import nn

from expunge.base.errors import ExpungeError
from expunge.base.settings import from_mapping
from expunge.base.toml import read_toml
from expunge.bench.grid import read_grid
from expunge.data.selection import rows_from_table
from expunge.data.sources.file_images import FileImages
from expunge.data.sources.splits import DataRequest
from expunge.data.sources.table import load_data
from expunge.jobs.job import Job, refuse_code
from expunge.models.sources.checkpoint import read_weights
from expunge.models.sources.weights import fill

MARK = "executed"
LABELS = torch.zeros(1, dtype=torch.int64)


class _Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._mark}",)


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


Make = Callable[[Path, random.Random, int], Path]
"""Writes a file to a folder."""


def _reading(make: Make, read: Callable[[Path], object]) -> Try:
    """Read files that `make` writes; what is no error of the package's counts as a traceback."""

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        path, found, broken = make(place, draw, number), False, ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(path)
            except ExpungeError as error:
                found = True
                broken = f"more than one line: {error}" if "\n" in str(error) else ""
            except BaseException as error:
                broken = f"{type(error).__name__}: {error}"
        return Tried(found, MARK if (place / MARK).exists() else "", broken)

    return attempt


def _damage(content: bytes, draw: random.Random) -> bytes:
    """Return `content` cut, with changed bytes, with a part doubled, or with numbers made huge."""
    kind, at = draw.randrange(5), draw.randrange(max(1, len(content)))
    if kind == 0:
        return content[:at]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(draw.choice((1, 3, 30))):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed)
    if kind == 2:
        return content[:at] + content[at // 2 : at] + content[at:]
    if kind == 3:
        return content[:at] + draw.randbytes(draw.randrange(1, 60)) + content[at + 8 :]
    return content[:at] + b"\xff" * 8 + content[at + 8 :]


def _odd_tensors() -> list[object]:
    warnings.simplefilter("ignore")  # torch warns of most of them
    plain = torch.rand(3, 4)
    with torch.device("meta"):
        meta = torch.rand(3, 4)
    return [
        meta,
        plain.to_sparse(),
        plain.to_sparse_csr(),
        torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8),
        plain.to(torch.int8),
        plain.to(torch.complex64),
        plain.to(torch.bool),
        plain.to(torch.float8_e4m3fn),
        torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]),
        plain[:0],
        torch.tensor(1.0),
        torch.rand(1).expand(3, 4),
        "text",
        None,
        [1, 2],
    ]


def checkpoints(folder: Path) -> Try:
    """Read checkpoints that run code when unpickled, hold odd tensors, or are damaged."""
    with warnings.catch_warnings():
        odd = _odd_tensors()

    def make(place: Path, draw: random.Random, number: int) -> Path:
        path, state = place / "weights.pt", _network().state_dict()
        kind = number % 4
        if kind == 0:
            content: object = draw.choice(
                [
                    _Hostile(place / MARK),
                    {"state_dict": state, "extra": _Hostile(place / MARK)},
                    [_Hostile(place / MARK)],
                ]
            )
            if draw.random() < 0.5:
                path.write_bytes(pickle.dumps(content))
            else:
                torch.save(content, path)
        elif kind == 1:
            content = {**state, "0.weight": odd[draw.randrange(len(odd))]}
            torch.save(draw.choice([content, {"model": content}, {"a": {"b": content}}]), path)
        else:
            stream = io.BytesIO()
            torch.save(state, stream, _use_new_zipfile_serialization=kind == 2)
            path.write_bytes(_damage(stream.getvalue(), draw))
        return path

    return _reading(make, lambda path: fill(_network(), read_weights(path), place="weights.pt"))


def safetensors(folder: Path) -> Try:
    """Read safetensors files whose header lies, or that are damaged."""

    def make(place: Path, draw: random.Random, number: int) -> Path:
        path, content = place / "weights.safetensors", save_safetensors(dict(_network().state_dict()))
        if number % 3:
            path.write_bytes(_damage(content, draw))
            return path
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        entry = header[draw.choice(sorted(header))]
        change = draw.choice(("dtype", "shape", "data_offsets", "none"))
        entry[change] = draw.choice(["F4096", "C64", [2**62], [-1], [0, 2**63], "text", None, {}, [[]]])
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
        return path

    return _reading(make, lambda path: fill(_network(), read_weights(path), place="weights"))


def npz(folder: Path) -> Try:
    """Read archives whose headers lie, that hold pickles or absurd labels, or are damaged."""
    x, y = np.zeros((4, 6, 5, 3), dtype=np.uint8), np.arange(4) % 3

    def lie(shape: object, kind: str) -> bytes:
        stream = io.BytesIO()
        text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}"
        header = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
        stream.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(100))
        return stream.getvalue()

    def make(place: Path, draw: random.Random, number: int) -> Path:
        path, stream = place / "images.npz", io.BytesIO()
        kind = number % 4
        if kind == 0:
            shapes = ["(2**62,)", "(10**9, 10**9, 3)", "(-1, 4)", "()", "(4, 6, 5, 3)", "['a']", "(" * 90]
            with zipfile.ZipFile(stream, "w") as archive:
                archive.writestr(
                    "x.npy", lie(draw.choice(shapes), draw.choice(["|u1", "|O", "<f8", "<V9", "|S2147483647"]))
                )
                archive.writestr("y.npy", lie("(4,)", draw.choice(["<i8", "|O", "<u8"])))
        elif kind == 1:
            odd = [
                y.astype(object),
                np.full(4, 2**64 - 1, dtype=np.uint64),
                y - 5,
                y.astype(float),
                y[:2],
                y.astype(str),
            ]
            np.savez(stream, x=x, y=draw.choice(odd))  # type: ignore[arg-type]
        elif kind == 2:
            hostile = np.empty(4, dtype=object)
            hostile[:] = _Hostile(place / MARK)
            np.savez(stream, allow_pickle=True, x=x, y=y, classes=hostile)
        else:
            (np.savez_compressed if number % 8 == 3 else np.savez)(stream, x=x, y=y)
            path.write_bytes(_damage(stream.getvalue(), draw))
            return path
        path.write_bytes(stream.getvalue())
        return path

    return _reading(make, lambda path: load_data(f"npz:{path}", DataRequest(num_classes=3)).train.load([0]))


def images(folder: Path) -> Try:
    """Read images that are damaged, of another format than they say, or of absurd sizes."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))
    formats = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]
    contents = {}
    for name in (*formats, "ICO", "PCX", "TGA"):
        stream = io.BytesIO()
        picture.save(stream, name)
        contents[name] = stream.getvalue()
    postscript = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n(MARK) (w) file\nshowpage\n"
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    others = [postscript.encode(), svg, b"", b"%PDF-1.4\n", contents["ICO"], contents["PCX"], contents["TGA"]]
    bomb = b"P6\n60000 60000\n255\n"

    def make(place: Path, draw: random.Random, number: int) -> Path:
        path = place / f"image{draw.choice(['.png', '.jpg', '.gif', '.tif'])}"
        if number % 5 == 0:
            path.write_bytes(draw.choice([*others, bomb]).replace(b"MARK", os.fsencode(place / MARK)))
        else:
            path.write_bytes(_damage(contents[draw.choice(formats)], draw))
        return path

    return _reading(make, lambda path: FileImages(["a"], LABELS, [path]).load([0]))


def tables(folder: Path) -> Try:
    """Read tables with absurd labels, paths, quotes and bytes."""
    (folder / "a").mkdir()
    Image.new("RGB", (5, 6)).save(folder / "a/0.png")
    texts = [
        "9" * 20,
        "9" * 5000,
        ".",
        "..",
        "a/" + "b" * 300,
        "/etc/passwd",
        "\x00",
        "=1+1",
        '"',
        "\r",
        "-1",
        "1e3",
        "ü",
        "’",
    ]
    texts += ["a/0.png", "a/../a/0.png", "nan", "None", "", " ", "\ud800", "\u202e", "a\nb", "٣"]

    def make(place: Path, draw: random.Random, number: int) -> Path:
        path = place / "table.csv"
        cells = [["path", "label", "new_label"], ["a/0.png", "0", "1"]]
        cells += [[draw.choice(texts) for _ in range(3)] for _ in range(draw.randrange(3))]
        row, column = draw.randrange(len(cells)), draw.randrange(3)
        cells[row][column] = draw.choice(texts)
        content = "\n".join(",".join(row) for row in cells).encode("utf-8", "replace")
        path.write_bytes(_damage(content, draw) if number % 2 else content)
        return path

    def read(path: Path) -> None:
        splits = load_data(f"folder:{folder}", DataRequest(num_classes=3))
        rows_from_table(path, splits.train)

    return _reading(make, read)


def toml(folder: Path) -> Try:
    """Read jobs and grids that are nested deep, hold absurd numbers, or name code."""
    values = [
        "1e999",
        "-1",
        "9" * 25,
        "9" * 5000,
        "nan",
        "inf",
        '"a"',
        "[]",
        "{}",
        "true",
        "1979-05-27",
        '"os:abort"',
        "0x7fffffffffffffff",
    ]
    values += ['["posix:abort"]', '"' + "a" * 3000 + '"', '"\\u0000"', "[" * 3000, "{a=" * 3000, "[[1]]", "3", "0.5"]
    names = [
        "seed",
        "max_steps",
        "max_seconds",
        "method",
        "goal",
        "batch_size",
        "transforms",
        "settings",
        "model",
        "data",
        "forget",
    ]
    names += [
        "model.mean",
        "model.num_classes",
        "data.resize",
        "data.source",
        "forget.random",
        "settings.margin",
        "x" * 300,
        "a.b" * 500,
    ]
    grid = ["title", "counts", "seeds", "job", "methods", "classifiers", "stream", "notes", "reference", "job.model"]

    def make(place: Path, draw: random.Random, number: int) -> Path:
        path = place / "job.toml"
        chosen = grid if number % 2 else names
        lines = [f"{draw.choice(chosen)} = {draw.choice(values)}" for _ in range(draw.randrange(1, 4))]
        content = "\n".join(lines).encode()
        path.write_bytes(_damage(content, draw) if number % 5 == 0 else content)
        return path

    def read(path: Path) -> None:
        found = read_toml(path)
        refuse_code(found, str(path))
        from_mapping(Job, found)
        read_grid(path)

    def read_either(path: Path) -> None:
        read_grid(path) if b"counts" in path.read_bytes() else read(path)

    return _reading(make, read_either)


TOGETHER = 20
ATTACKS = [
    Attack("hostile or damaged: checkpoints", checkpoints, 300, 48, TOGETHER),
    Attack("hostile or damaged: safetensors", safetensors, 300, 48, TOGETHER),
    Attack("hostile or damaged: npz", npz, 300, 48, TOGETHER),
    Attack("hostile or damaged: images", images, 300, 60, TOGETHER),
    Attack("hostile or damaged: CSV", tables, 300, 60, TOGETHER),
    Attack("hostile or damaged: TOML", toml, 300, 60, TOGETHER),
]
