"""A small project around a classifier of three colours, quick to edit."""

import sys
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_job import QUICK

from expunge.data.forget import ForgetSet
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource
from expunge.requests import versions
from expunge.requests.create import Plan, create_project
from expunge.requests.receive import RequestOptions
from expunge.task.outcome import Health

NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
"""
FAR = date(2999, 12, 31)


def draw_levels(count, seed):
    """Return images of 6x5 pixels in three colours as (n, h, w, c) levels, and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    levels = rng.integers(0, 90, (count, 6, 5, 3))
    levels[np.arange(count), :, :, labels] += 120
    return levels.astype(np.uint8), labels


def draw_rows(count, seed):
    """Return them as rows to forget."""
    levels, labels = draw_levels(count, seed)
    pixels = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    return ForgetSet(tuple(f"row-{row}" for row in range(count)), pixels, torch.from_numpy(labels))


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Return a folder with ledger_networks.py, weights.safetensors and images.npz."""
    folder = tmp_path_factory.mktemp("ledger-inputs")
    (folder / "ledger_networks.py").write_text(NETWORK)
    levels, labels = draw_levels(60, seed=0)
    unseen, unseen_labels = draw_levels(30, seed=1)
    np.savez(folder / "images.npz", x_train=levels, y_train=labels, x_test=unseen, y_test=unseen_labels)
    scope = {}
    exec(NETWORK, scope)  # noqa: S102 - the text above
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = scope["build"]()
    rows = draw_rows(60, seed=0)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network((rows.x - 0.5) / 0.25), rows.y).backward()
        optimiser.step()
    save_file(network.eval().state_dict(), folder / "weights.safetensors")
    return folder


def never_ruined(*_, **__):
    """Return the health of a classifier that changed nothing."""
    return Health.of("test", np.arange(3), np.arange(3), classes=3, labels=np.arange(3))


@pytest.fixture(autouse=True)
def health(monkeypatch):
    """Let every edit be taken: so small a classifier is ruined by most of them; test_health.py looks at that."""
    monkeypatch.setattr(versions, "find_health", never_ruined)


@pytest.fixture
def plan(inputs, monkeypatch):
    """Return the plan of a project; the network's module can be imported during the test."""
    monkeypatch.syspath_prepend(inputs)
    monkeypatch.delitem(sys.modules, "ledger_networks", raising=False)
    source = ModelSource("ledger_networks:build", inputs / "weights.safetensors", 3, Normalisation((0.5,), (0.25,)))
    return Plan(model=source, data=f"npz:{inputs / 'images.npz'}", method="l2ul", settings=QUICK, budget=50.0)


@pytest.fixture
def project(plan, tmp_path):
    """Return the folder of an empty project."""
    create_project(tmp_path / "project", plan)
    return tmp_path / "project"


@pytest.fixture
def options():
    """Return requests that keep their images, and that don't."""
    return SimpleNamespace(
        keeping=RequestOptions(reference="letter 1", keep_until=FAR), plain=RequestOptions(reference="letter 2")
    )


@pytest.fixture(scope="session")
def rows_of():
    """Return the function that draws `count` rows with a seed."""
    return draw_rows
