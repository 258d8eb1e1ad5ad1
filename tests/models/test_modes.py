import pytest
import torch
from torch import nn

from expunge.models.modes import BatchNormMode, editing, evaluating


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
