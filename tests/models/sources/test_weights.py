import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.models.heads import last_length
from expunge.models.sources.checkpoint import read_weights
from expunge.models.sources.weights import fill


class Surprise:
    """Something that unpickling would run."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


def same(weights, network):
    state = network.state_dict()
    return weights.keys() == state.keys() and all(torch.equal(weights[name], state[name]) for name in state)


def test_safetensors(small_network, tmp_path):
    save_file(small_network.state_dict(), tmp_path / "a.safetensors")
    assert same(read_weights(tmp_path / "a.safetensors"), small_network)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_checkpoints(small_network, tmp_path, wrapper, prefix):
    state = {prefix + name: tensor for name, tensor in small_network.state_dict().items()}
    torch.save(state if wrapper is None else {"epoch": 3, wrapper: state}, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth").keys() == state.keys()
    fresh = copy.deepcopy(small_network).apply(lambda part: getattr(part, "reset_parameters", lambda: None)())
    assert not same(small_network.state_dict(), fresh)
    fill(fresh, read_weights(tmp_path / "a.pth"), place="a.pth")
    assert same(small_network.state_dict(), fresh)


@pytest.mark.parametrize("content", ["object", "module", "old"])
def test_pickled_objects_are_refused_with_the_safe_way(small_network, tmp_path, capsys, content):
    path = tmp_path / "a.pt"
    if content == "old":
        path.write_bytes(pickle.dumps(Surprise(), protocol=2))
    else:
        torch.save({"model": Surprise()} if content == "object" else small_network, path)
    with pytest.raises(ClassifierError, match=r"a\.pt`: expected tensors only, got pickled objects.*save_file"):
        read_weights(path)
    assert "never" not in capsys.readouterr().out


def test_whole_modules_say_how_to_convert(small_network, tmp_path):
    torch.save(small_network, tmp_path / "a.pt")
    with pytest.raises(ClassifierError, match=r"expected tensors only, got pickled objects.*model\.state_dict\(\)"):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0, 5, 300, -20])
def test_truncated_files_are_damaged(small_network, tmp_path, suffix, kept):
    path = tmp_path / f"a{suffix}"
    if suffix == ".pt":
        torch.save(small_network.state_dict(), path)
    else:
        save_file(small_network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ClassifierError, match=rf"a\{suffix}`: expected .*the file is damaged"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    "content", ["<html>404 not found</html>", "hello", "version https://git-lfs.github.com/spec/v1"]
)
def test_something_else_is_damaged(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_text(content)
    with pytest.raises(ClassifierError, match="the file is damaged"):
        read_weights(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"optimizer": {"lr": 0.1}, "epoch": 2}, "expected a state dict, or one under .*, got optimizer, epoch"),
        ({}, "got an empty one"),
        ([1, 2], "got list"),
    ],
)
def test_checkpoints_without_a_state_dict_are_named(tmp_path, content, words):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ClassifierError, match=words):
        read_weights(tmp_path / "a.pt")


def test_missing_and_unknown_files_are_named(tmp_path):
    with pytest.raises(ClassifierError, match=r"gone\.pt`: expected a file of weights, got none there"):
        read_weights(tmp_path / "gone.pt")
    (tmp_path / "a.onnx").write_bytes(b"x")
    with pytest.raises(ClassifierError, match=r"expected a file of weights \(\.safetensors,.*got \.onnx"):
        read_weights(tmp_path / "a.onnx")


def test_another_architecture_is_described(small_network):
    weights = small_network.state_dict()
    del weights["0.bias"], weights["1.weight"]
    weights |= {"extra": torch.ones(1), "3.weight": torch.ones(3, 5)}
    words = (
        r"2 missing \(0\.bias, \.\.\.\), 1 surplus \(extra\), 1 misshapen \(3\.weight \(3, 5\) instead of \(3, 16\)\)"
    )
    with pytest.raises(ClassifierError, match=rf"`a\.pt`: expected the weights of this architecture, got {words}"):
        fill(small_network, weights, place="a.pt")


def test_batch_counters_may_be_missing(small_network):
    weights = {name: tensor for name, tensor in small_network.state_dict().items() if "num_batches" not in name}
    fill(small_network, weights, place="here")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_the_networks(small_network, dtype):
    weights = {name: tensor.to(dtype) for name, tensor in small_network.state_dict().items() if "num_b" not in name}
    half = dtype in (torch.float16, torch.bfloat16)
    words = rf"here is in {str(dtype).removeprefix('torch.')}: it is edited and saved as float32"
    with pytest.warns(ExpungeWarning, match=words) if half else nullcontext():
        fill(small_network, weights, place="here")
    assert {parameter.dtype for parameter in small_network.parameters()} == {torch.float32}
    assert torch.equal(small_network[3].weight, weights["3.weight"].float())


def test_last_length(small_network):
    assert last_length(small_network) == 3
    assert last_length(small_network, {"3.bias": torch.zeros(7)}) == 7
    with pytest.raises(ClassifierError, match="a module with weights to edit"):
        last_length(nn.ReLU())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_network_whose_own_names_begin_so_reads_its_own_weights(tmp_path, prefix):
    network = nn.Module()
    network.add_module(prefix.removesuffix("."), nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    torch.save(network.state_dict(), tmp_path / "own.pt")
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "spread.pt")
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name in ("own.pt", "spread.pt"):
        torch.nn.init.zeros_(next(network.parameters()))
        fill(network, read_weights(tmp_path / name), place=name)
        assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in expected.items())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_tensor_without_a_shape_is_refused(small_network):
    weights = dict(small_network.state_dict())
    name = next(iter(weights))
    weights[name] = torch.nested.nested_tensor([torch.rand(2), torch.rand(3)])
    with pytest.raises(ClassifierError, match="a dense tensor of real numbers, got a nested one"):
        fill(small_network, weights, place="a.pt")
