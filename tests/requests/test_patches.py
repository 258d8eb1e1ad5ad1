import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from expunge.base.errors import LedgerError
from expunge.base.tensors import sha256_tensors
from expunge.requests.patches import apply_patch, make_patch

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def draw_weights(seed):
    generator = torch.Generator().manual_seed(seed)
    return {f"{dtype}": (torch.randn(3, 5, generator=generator) * 100).to(dtype) for dtype in DTYPES} | {
        "scalar": torch.tensor(seed),
        "same": torch.ones(4),
    }


@given(first=st.integers(0, 100), second=st.integers(0, 100))
def test_a_patch_leads_there_and_back_bit_for_bit(first, second):
    base, result = draw_weights(first), draw_weights(second)
    patch = make_patch(base, result)
    assert sha256_tensors(apply_patch(base, patch, "p")) == sha256_tensors(result)
    assert sha256_tensors(apply_patch(result, patch, "p")) == sha256_tensors(base)


def test_a_patch_keeps_the_sign_of_zero_and_the_bits_of_nan():
    base = {"w": torch.tensor([0.0, 1.0, float("nan")])}
    result = {"w": torch.tensor([-0.0, 1.0, float("inf")])}
    patch = make_patch(base, result)
    forth = apply_patch(base, patch, "p")
    assert torch.signbit(forth["w"]).tolist() == [True, False, False]
    assert torch.equal(apply_patch(forth, patch, "p")["w"].view(torch.int32), base["w"].view(torch.int32))


def test_a_difference_of_floats_would_not_restore_the_bits():
    base, result = torch.tensor([0.1, 1e8]), torch.tensor([1e8, 0.1])
    assert not torch.equal(result - (result - base), base)


def test_only_changed_tensors_are_in_a_patch():
    base = draw_weights(1)
    result = {**base, "torch.float32": base["torch.float32"] + 1}
    assert list(load(make_patch(base, result))) == ["torch.float32"]


def test_other_weights_a_damaged_and_another_file_are_refused():
    base, result, other = (draw_weights(seed) for seed in (1, 2, 3))
    patch = make_patch(base, result)
    with pytest.raises(LedgerError, match="got one for others; was it swapped"):
        apply_patch(other, patch, "p")
    with pytest.raises(LedgerError):
        apply_patch(base, patch[:-3] + b"xyz", "p")
    for damaged in (patch[:100], b"", b"\xff" * 100, (2).to_bytes(8, "little") + b"[]"):
        with pytest.raises(LedgerError, match="expected a whole patch"):
            apply_patch(base, damaged, "p")
    with pytest.raises(LedgerError, match="expected a patch of format"):
        apply_patch(base, save(base), "p")
