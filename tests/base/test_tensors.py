import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from expunge.base.disk import sha256_file, write_bytes, write_json, write_text
from expunge.base.errors import OutputError
from expunge.base.tensors import sha256_tensors, write_tensors

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)

KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from expunge.base import disk

path, old, new = Path(sys.argv[1]), b"o" * 300_000, b"n" * 500_000

def check(child):
    os.waitpid(child, 0)
    assert path.read_bytes() in (old, new), "half a file"
    return path.read_bytes() == new

def kill_at_line(number):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename != disk.__file__:
            return None
        if event == "line":
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    disk.write_bytes(path, new)
    sys.settrace(None)
    os._exit(0)

def fork(action, *arguments):
    child = os.fork()
    if child == 0:
        action(*arguments)
    return child

def write_for_ever():
    while True:
        disk.write_bytes(path, new)
        disk.write_bytes(path, old)

outcomes = []
for number in range(1, 40):
    path.write_bytes(old)
    outcomes.append(check(fork(kill_at_line, number)))
for seed in range(10):
    path.write_bytes(old)
    child = fork(write_for_ever)
    time.sleep(random.Random(seed).uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    check(child)
print(outcomes.count(False), outcomes.count(True))
"""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    write_text(path, "neü")
    assert path.read_text(encoding="utf-8") == "neü"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="expected a place that can be written to, got No space left on device"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.bin"]


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, resource):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(OutputError, match="got File too large; nothing was replaced"):
            write_bytes(path, b"n" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.bin"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.bin"]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch):
    """Some file systems refuse it, and by then the new file has taken its name."""
    real = os.open

    def only_files(path, *arguments, **options):
        if path == tmp_path:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", only_files)
    write_bytes(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"a\.bin`: expected a place that can be written to, got No such file"):
        write_bytes(tmp_path / "missing" / "a.bin", b"")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_at_any_point_leaves_the_old_or_the_new_file(tmp_path):
    """Kill the writer at each line that it executes, and at random moments."""
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path / "a.bin")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    old, new = map(int, done.stdout.split())
    assert old > 5, "no kill before the rename"
    assert new > 5, "no kill after the rename"


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert names_in(tmp_path) == []


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, 0.5, None, "ü"]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, 0.5, None, "ü"]}


def draw_tensor(dtype, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 100).to(dtype)


TENSORS = st.dictionaries(
    st.text("abc.0", min_size=1, max_size=6),
    st.builds(
        draw_tensor, st.sampled_from(DTYPES), st.lists(st.integers(1, 4), max_size=4).map(tuple), st.integers(0, 99)
    ),
    min_size=1,
    max_size=4,
)


@given(tensors=TENSORS)
def test_weights_survive_a_round_trip(tensors):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.safetensors"
        write_tensors(path, tensors, {"base": "f0"})
        back = load_file(path)
        with safe_open(path, "pt") as opened:
            assert opened.metadata() == {"base": "f0"}
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
    assert sha256_tensors(back) == sha256_tensors(tensors)


def test_shared_and_transposed_tensors_are_written_each_on_its_own(tmp_path):
    weight = torch.arange(6.0).view(2, 3)
    write_tensors(tmp_path / "w.safetensors", {"a": weight, "b": weight, "c": weight.t()}, {})
    back = load_file(tmp_path / "w.safetensors")
    assert torch.equal(back["a"], weight)
    assert torch.equal(back["b"], weight)
    assert torch.equal(back["c"], weight.t())


def test_the_hash_of_a_file_is_sha256(tmp_path):
    write_bytes(tmp_path / "a", b"abc")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_the_hash_of_tensors_sees_names_types_shapes_and_bytes_but_not_order():
    one = torch.arange(6, dtype=torch.float32)
    base = sha256_tensors({"a": one, "b": one + 1})
    assert base == sha256_tensors({"b": one + 1, "a": one.clone()})
    others = (
        {"a": one, "c": one + 1},
        {"a": one.double(), "b": one + 1},
        {"a": one.view(2, 3), "b": one + 1},
        {"a": one, "b": one + 2},
        {"a": one},
    )
    assert base not in map(sha256_tensors, others)
