"""A small job on disk: a network that anyone can import, its weights, images in arrays."""

from functools import cache

import numpy as np
import torch
from safetensors.torch import save_file

NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
"""
QUICK = {"attack": {"targets_per_row": 2, "steps": 2}, "descent": {"learning_rate": 0.005, "warmup": 0}}
"""Settings of `l2ul` that edit small networks in few steps."""
QUICK_FLAGS = [
    flag
    for part, settings in QUICK.items()
    for name, value in settings.items()
    for flag in ("--set", f"{part}.{name}={value}")
]


def write_job(folder):
    """Write tiny_networks.py, weights.safetensors and images.npz."""
    (folder / "tiny_networks.py").write_text(NETWORK)
    x_train, y_train, x_test, y_test = draw_arrays()
    np.savez(folder / "images.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    save_file(train().state_dict(), folder / "weights.safetensors")


def draw_arrays():
    """Return 60 training and 30 test images of 6x5 pixels in three colours."""
    rng = np.random.default_rng(0)
    arrays = []
    for count in (60, 30):
        y = np.arange(count) % 3
        x = rng.integers(0, 90, (count, 6, 5, 3))
        x[np.arange(count), :, :, y] += 120
        arrays += [x.astype(np.uint8), y]
    return arrays


@cache
def train():
    """Return the network, trained to be right on all training images."""
    x, y, *_ = draw_arrays()
    scope = {}
    exec(NETWORK, scope)  # noqa: S102 - the text above
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = scope["build"]()
    pixels = (torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels), torch.from_numpy(y)).backward()
        optimiser.step()
    return network.eval()
