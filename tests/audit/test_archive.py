"""What was gathered comes back from the files as it was."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from expunge.audit.collect.collected import Embedding
from expunge.audit.collect.features import LayerSimilarity
from expunge.audit.collect.given_away import GivenAway
from expunge.audit.figures.table import compute_figures
from expunge.audit.metrics.weights import Shift
from expunge.audit.record import Slice
from expunge.audit.store.archive import read_gathered, write_gathered
from expunge.audit.tables import TABLES
from expunge.base.errors import DataError


@pytest.fixture
def complete(world, cases):
    """Return a case in which nothing is missing."""
    data = cases["retrained"]
    grid = np.arange(4, dtype=np.int32).reshape(2, 2)
    deep = replace(
        data.deep,
        layers=(LayerSimilarity("0", "forget", 0.1 + 0.2), LayerSimilarity("1", "test", None)),
        embeddings={"forget": Embedding(np.arange(9), *world.rng.normal(size=(2, 9, 2)))},
        slices=(Slice(3, ("a", "b", "c"), np.eye(3, 2), (-1.0, 2.0, -1.0, 2.0), grid, grid.T),),
        given_away=GivenAway(("0", "2"), *(world.rng.random((2, n)) for n in (3, 9)), *map(world.rng.random, (3, 9))),
        untrained=np.stack([world.never_saw()["forget"] for _ in range(5)]),
        reasons={"features": "none"},
    )
    return replace(data, deep=deep, shifts=(Shift("0.weight", 4, 1 / 3, 2.0, 3),), pictures=True)


def same(one, other):
    """Whether two pieces hold the same, whatever they are made of."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize(
    "left_out", [(), ("deep",), ("shadows",), ("retrained", "cost"), ("shifts", "shadows", "deep")]
)
def test_everything_comes_back(complete, tmp_path, left_out):
    data = replace(complete, **dict.fromkeys(left_out))
    write_gathered(tmp_path, data)
    found = read_gathered(tmp_path)
    assert same(found, data)
    assert compute_figures(found) == compute_figures(data)


def test_a_change_without_pictures(complete, tmp_path):
    asked = replace(complete.deep.given_away, pictures=None, other_pictures=None)
    data = replace(complete, deep=replace(complete.deep, given_away=asked))
    write_gathered(tmp_path, data)
    assert same(read_gathered(tmp_path), data)


def test_shadow_classifiers_that_did_not_unlearn(complete, tmp_path):
    data = replace(complete, shadows=replace(complete.shadows, unlearned_forget=None, unlearned_test=None))
    write_gathered(tmp_path, data)
    assert same(read_gathered(tmp_path), data)


def test_an_audit_made_before_copies_were_noised(complete, tmp_path):
    data = replace(complete, deep=replace(complete.deep, perturbed=None))
    write_gathered(tmp_path, data)
    assert same(read_gathered(tmp_path), data)


def test_tables_are_the_same(complete, tmp_path):
    write_gathered(tmp_path, complete)
    found = read_gathered(tmp_path)
    for make in TABLES.values():
        assert list(make(found).to_text()) == list(make(complete).to_text())


@pytest.mark.parametrize("name", ["gathered.json", "predictions.npz", "features.npz", "slices.npz", "pools.npz"])
def test_a_damaged_file_is_named(complete, tmp_path, name):
    write_gathered(tmp_path, complete)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{re.escape(name)}`.*make (it|the audit) anew"):
        read_gathered(tmp_path)


def test_a_missing_file_is_named(complete, tmp_path):
    write_gathered(tmp_path, complete)
    (tmp_path / "predictions.npz").unlink()
    with pytest.raises(DataError, match=r"predictions\.npz"):
        read_gathered(tmp_path)


@pytest.mark.parametrize("name", ["goal", "seed", "goal_labels", "copies", "deep", "pools"])
def test_a_part_that_is_not_there_is_an_error_of_that_file(complete, tmp_path, name):
    write_gathered(tmp_path, complete)
    content = json.loads((tmp_path / "gathered.json").read_text())
    del content[name]
    (tmp_path / "gathered.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"gathered\.json`.*{name}"):
        read_gathered(tmp_path)
