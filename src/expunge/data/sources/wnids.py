"""The classes of ImageNet-1K: their WordNet ids, whose order numbers them, and their names."""

import importlib
import json
import re
from pathlib import Path

from expunge.base.errors import DataError

LISTS = ("LOC_synset_mapping.txt", "synset_words.txt")
INDEX = "imagenet_class_index.json"
CLASSES = 1000
WNID = re.compile(r"n\d{8}", re.ASCII)


def read_wnids(folder: Path) -> dict[str, str]:
    """Return the WordNet ids in order of their labels, each with its name.

    They are read from LOC_synset_mapping.txt or synset_words.txt (lines such as "n01440764 tench, Tinca tinca"), or
    imagenet_class_index.json, in `folder`; otherwise the 1,000 classes of the challenge come from timm.

    Raises:
        DataError: a file of another form, ids that are not in ascending order, or no file and no timm.
    """
    for name in LISTS:
        if (folder / name).is_file():
            return _in_order(folder / name, _read_list(folder / name))
    if (folder / INDEX).is_file():
        return _in_order(folder / INDEX, _read_index(folder / INDEX))
    try:
        data = importlib.import_module("timm.data")
    except ImportError as error:
        raise DataError(
            str(folder),
            f"a list of its classes: {', '.join((*LISTS, INDEX))}",
            "none",
            "or pip install expunge[models]",
        ) from error
    info = data.ImageNetInfo("imagenet-1k")
    return {wnid: info.label_name_to_description(wnid) for wnid in info.label_names()}


def _read_list(path: Path) -> list[tuple[str, str]]:
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [(wnid, name.strip()) for wnid, _, name in (line.partition(" ") for line in lines)]


def _read_index(path: Path) -> list[tuple[str, str]]:
    try:
        index = json.loads(path.read_text("utf-8"))
        return [(str(index[str(label)][0]), str(index[str(label)][1])) for label in range(len(index))]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            str(path), 'classes such as {"0": ["n01440764", "tench"]}', f"something else ({error})"
        ) from error


def _in_order(path: Path, classes: list[tuple[str, str]]) -> dict[str, str]:
    wnids = [wnid for wnid, _ in classes]
    odd = next((wnid for wnid in wnids if not WNID.fullmatch(wnid)), None)
    if odd is not None or not wnids:
        raise DataError(str(path), "WordNet ids such as n01440764", odd or "none")
    if wnids != sorted(set(wnids)):
        raise DataError(str(path), "WordNet ids in ascending order, each once", "another order")
    return {wnid: name or wnid for wnid, name in classes}
