"""Tensors in safetensors files: in one, or in several shards with an index beside them."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from expunge.base.errors import ClassifierError, one_line

INDEX_SUFFIX = ".safetensors.index.json"
INDEX_BYTES = 100_000_000
"""More than the index of any network takes."""
ALL_FILES = "take all files of one download"


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one file by name.

    Raises:
        ClassifierError: the file is damaged.
    """
    try:
        return load_file(path)
    except Exception as error:  # the library raises errors of its own, and torch those of odd types
        raise ClassifierError(str(path), "a whole safetensors file", one_line(error), "the file is damaged") from error


def read_shards(index: Path) -> dict[str, Tensor]:
    """Return the tensors of all shards that an index names, as the Hugging Face libraries write them.

    Args:
        index: model.safetensors.index.json or the like; its shards lie beside it.

    Raises:
        ClassifierError: the index or a shard is damaged or missing, a shard lies elsewhere, or a tensor isn't in the
            shard that the index names for it, and in no other.
    """
    places = _read_index(index)
    found: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        path = index.parent / shard
        if not path.is_file():
            raise ClassifierError(str(path), f"a shard that {index.name} names", "none there", ALL_FILES)
        tensors = read_safetensors(path)
        _check_shard(path, tensors, places)
        found |= tensors
    return found


def _check_shard(path: Path, tensors: Mapping[str, Tensor], places: Mapping[str, str]) -> None:
    """Check that a shard holds what the index says, no more and no less."""
    for name in tensors:
        if name not in places:
            raise ClassifierError(str(path), "only tensors that the index names", name, ALL_FILES)
        if places[name] != path.name:
            raise ClassifierError(str(path), f"{name} in one shard, {places[name]}", "it here too", ALL_FILES)
    missing = next((name for name, shard in places.items() if shard == path.name and name not in tensors), None)
    if missing is not None:
        raise ClassifierError(str(path), f"{missing}, as the index says", "no such tensor", ALL_FILES)


def _read_index(index: Path) -> dict[str, str]:
    """Return the shard of each tensor."""
    try:
        if index.stat().st_size > INDEX_BYTES:
            raise ValueError(f"{index.stat().st_size} bytes")
        places = json.loads(index.read_text("utf-8"), object_pairs_hook=_each_once)["weight_map"]
        shards = set(places.values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ClassifierError(
            str(index), "an index of shards, with a weight_map", one_line(error), ALL_FILES
        ) from error
    for shard in shards:
        if not isinstance(shard, str) or not shard.endswith(".safetensors") or {"/", "\\", ":", "\0"} & set(shard):
            raise ClassifierError(str(index), "names of .safetensors files beside it", repr(shard))
    if not places:
        raise ClassifierError(str(index), "an index of shards, with a weight_map", "an empty one", ALL_FILES)
    return dict(places)


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in found if names.count(name) > 1)} twice")
    return found
