import pytest
import torch
from torch import nn

from expunge.models.modes import BatchNormMode, editing, evaluating, in_ordinary_modes


@pytest.fixture
def mixed():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    network[1].eval()
    network[3].eval()
    return network


def flags(network):
    return [part.training for part in network.modules()]


def test_evaluating_puts_every_flag_back(mixed):
    before = flags(mixed)
    with evaluating(mixed):
        assert not any(flags(mixed))
    assert flags(mixed) == before == [True, True, False, True, False]


@pytest.mark.parametrize("mode", BatchNormMode)
def test_editing_sets_all_flags_and_puts_every_flag_back(mixed, mode):
    before = flags(mixed)
    with editing(mixed, mode):
        assert set(flags(mixed)) == {mode is BatchNormMode.BATCH}
    assert flags(mixed) == before


def test_flags_come_back_after_an_error(mixed):
    before = flags(mixed)
    with pytest.raises(KeyboardInterrupt), editing(mixed, BatchNormMode.BATCH):
        raise KeyboardInterrupt
    assert flags(mixed) == before


def test_nested_modes_come_back_in_turn(mixed):
    with editing(mixed, BatchNormMode.BATCH):
        with evaluating(mixed):
            assert not any(flags(mixed))
        assert all(flags(mixed))


@pytest.mark.parametrize(("mode", "moves"), [(BatchNormMode.FROZEN, False), (BatchNormMode.BATCH, True)])
def test_only_batch_mode_moves_running_statistics(mixed, mode, moves):
    before = mixed[1].running_mean.clone()
    with editing(mixed, mode):
        mixed(torch.rand(3, 3, 8, 6) + 1)
    assert torch.equal(mixed[1].running_mean, before) != moves


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_a_caller_has_switched_does_not_reach_inside_and_comes_back(mode):
    @in_ordinary_modes
    def compute(layer, x):
        value = layer(x)
        return value.dtype, value.requires_grad

    layer, x = nn.Linear(3, 2), torch.rand(4, 3)
    with MODES[mode]():
        before = layer(x).dtype, torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert compute(layer, x) == (torch.float32, True)
        assert (layer(x).dtype, torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before


def test_a_caller_s_number_format_comes_back():
    made = in_ordinary_modes(lambda: torch.zeros(1))
    torch.set_default_dtype(torch.float64)
    try:
        assert made().dtype == torch.float32
        assert torch.zeros(1).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
