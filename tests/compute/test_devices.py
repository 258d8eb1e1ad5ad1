import subprocess
import sys

import pytest
import torch

from expunge.base.errors import SettingsError
from expunge.bench.ray_cluster import share_of_gpus
from expunge.bench.run import Share
from expunge.compute import devices
from expunge.compute.devices import find_device, generators_kept, has_bfloat16, peak_bytes, seeded
from expunge.compute.runtime import Precision, find_precision

CPU = torch.device("cpu")
WITHOUT_RESOURCE = """
import sys
sys.modules["resource"] = None
import expunge.cli.run, expunge.jobs.run, expunge.bench.schedule, expunge.jobs.audit
from expunge.compute.devices import peak_bytes
import torch
print(peak_bytes(torch.device("cpu")))
"""


def test_the_package_works_where_resource_is_missing():
    done = subprocess.run([sys.executable, "-c", WITHOUT_RESOURCE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0"


@pytest.mark.usefixtures("resource")
def test_the_most_memory_that_the_process_took_is_told():
    assert peak_bytes(CPU) > 2**20


def test_auto_is_the_preferred_device_that_is_there(monkeypatch):
    made = []
    monkeypatch.setattr(torch, "empty", lambda _, device: made.append(device) or torch.zeros(0))
    for there, wanted in ((("cuda", "mps"), "cuda"), (("mps",), "mps"), ((), "cpu")):
        for kind in ("cuda", "mps"):
            monkeypatch.setattr(getattr(torch, kind), "is_available", lambda kind=kind, there=there: kind in there)
        find_device("auto")
        assert made[-1] == wanted


def test_older_torch_is_asked_for_what_it_tells(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for answer in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=answer: answer, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
        assert has_bfloat16(CPU) is answer


@pytest.mark.parametrize(
    ("limit", "answer"), [("", True), ("AVX512_CORE_BF16", True), ("AVX512_CORE", False), ("avx2", False)]
)
def test_a_processor_that_may_not_use_newer_instructions_has_no_bfloat16(monkeypatch, limit, answer):
    monkeypatch.setattr(devices, "_capabilities_of_cpu", lambda: {"avx512_bf16": True})
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert has_bfloat16(CPU) is answer
    assert find_precision(Precision.AUTO, CPU) is (Precision.BFLOAT16 if answer else Precision.FLOAT32)


def test_generators_are_put_back():
    with generators_kept(CPU):
        before = torch.rand(3)
        with seeded(5):
            torch.rand(7)
        after = torch.rand(3)
    with generators_kept(CPU):
        assert torch.equal(torch.rand(6), torch.cat([before, after]))


def test_no_other_device_is_seeded(monkeypatch):
    """`torch.manual_seed` seeds them all, and only that of the block is put back."""
    asked = []
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, asked.append)
    with seeded(5):
        torch.rand(1)
    assert not asked


def test_gpus_are_dealt_out_to_the_places_of_a_benchmark(monkeypatch):
    monkeypatch.setattr("expunge.bench.run.count_devices", lambda kind: 2)
    assert [Share(lane=lane).choose_device("auto") for lane in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [Share(lane=1).choose_device(device) for device in ("cpu", "cuda:1", "cuda")] == ["cpu", "cuda:1", "cuda:1"]
    monkeypatch.setattr("expunge.bench.run.count_devices", lambda kind: 1)
    assert Share(lane=1).choose_device("cuda") == "cuda"


def test_ray_is_asked_for_gpus():
    assert [share_of_gpus(device, 2, 1) for device in ("cpu", "auto", "cuda:0")] == [0, 1, 1]
    assert share_of_gpus("cuda", 1, 3) == pytest.approx(1 / 3)
    with pytest.raises(SettingsError, match="expected a GPU in the Ray cluster"):
        share_of_gpus("cuda", 0, 1)
