"""Weights in shards; whatever is wrong with index or shards is an error of one line."""

import json

import pytest
import torch
from safetensors.torch import save_file

from expunge.base.errors import ClassifierError
from expunge.models.sources.checkpoint import read_weights

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2), "c": torch.zeros(1)}
PLACES = {"a": ONE, "b": TWO, "c": TWO}


@pytest.fixture
def index(tmp_path):
    """Return the index of three tensors in two shards."""
    for shard in (ONE, TWO):
        save_file({name: TENSORS[name] for name in TENSORS if PLACES[name] == shard}, tmp_path / shard)
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": PLACES}))
    return path


def refused(index):
    """Return the text of the error, which has one line."""
    with pytest.raises(ClassifierError) as caught:
        read_weights(index)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shards_are_put_together(index):
    found = read_weights(index)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_a_missing_shard_is_named(index):
    (index.parent / TWO).unlink()
    assert f"{TWO}`: expected a shard that {index.name} names, got none there; take all files" in refused(index)


def test_a_damaged_shard_is_named(index):
    whole = (index.parent / TWO).read_bytes()
    (index.parent / TWO).write_bytes(whole[:-3])
    assert f"{TWO}`: expected a whole safetensors file, got " in refused(index)


@pytest.mark.parametrize(
    "place", ["../w.safetensors", "/w.safetensors", "in/w.safetensors", "..\\w.safetensors", 5, "w"]
)
def test_a_shard_that_is_no_file_beside_the_index_is_refused_unread(index, place):
    save_file(TENSORS, index.parent.parent / "w.safetensors")
    index.write_text(json.dumps({"weight_map": {**PLACES, "a": place}}))
    assert f"expected names of .safetensors files beside it, got {place!r}" in refused(index)


def test_a_tensor_in_two_shards_is_refused(index):
    save_file({"a": TENSORS["a"], "b": TENSORS["b"], "c": TENSORS["c"]}, index.parent / TWO)
    assert f"{TWO}`: expected a in one shard, {ONE}, got it here too" in refused(index)


def test_a_tensor_that_the_index_names_twice_is_refused(index):
    index.write_text(f'{{"weight_map": {{"a": "{ONE}", "a": "{TWO}"}}}}')
    assert "got ValueError: a twice" in refused(index)


def test_a_shard_with_less_or_more_than_the_index_says_is_refused(index):
    save_file({"b": TENSORS["b"]}, index.parent / TWO)
    assert f"{TWO}`: expected c, as the index says, got no such tensor" in refused(index)
    save_file({**{name: TENSORS[name] for name in "bc"}, "d": torch.ones(1)}, index.parent / TWO)
    assert f"{TWO}`: expected only tensors that the index names, got d" in refused(index)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": ["a"]}', "[" * 100_000, "\xff"])
def test_what_is_no_index_is_refused(index, text):
    index.write_bytes(text.encode("latin-1"))
    assert "expected an index of shards, with a weight_map, got " in refused(index)
