"""The short form of every attack."""

import sys

import pytest
import torch
from table import all_attacks
from tries import fast_folder, make_tries

from expunge.requests import drift, snapshot, versions

HASTENED = (
    (versions, "find_health"),
    (versions, "measure_robust_goal"),
    (drift, "LEAVES"),
    (snapshot, "FEWEST"),
)


@pytest.fixture(autouse=True)
def _as_they_were(monkeypatch):
    """Put back, after each attack, what attacks make quicker."""
    for module, name in HASTENED:
        monkeypatch.setattr(module, name, getattr(module, name))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork and no SIGKILL there")
@pytest.mark.parametrize(
    "attack", [pytest.param(each, id=each.name, marks=[pytest.mark.slow] * each.slow) for each in all_attacks()]
)
def test_nothing_is_lost_and_everything_is_said_in_words(attack):
    with fast_folder() as folder:
        tried = dict(make_tries(attack, folder, range(attack.short)))
    assert len(tried) == attack.short
    assert {number: one for number, one in tried.items() if one.lost or one.broken} == {}
