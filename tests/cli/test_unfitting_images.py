"""Images that the network does not take, and networks that come in a wrapper."""

import json

import numpy as np
import pytest
from PIL import Image

NETWORKS = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))

def grey():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))

def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(8 * 8, 3))

class Choosy(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = build()

    def forward(self, x):
        assert x.shape[-1] == 224, "made for 224"
        return self.inner(x)

def parallel():
    return nn.DataParallel(build())
"""


@pytest.fixture
def run(job, expunge):
    """Return a function that runs a network on nine random images of a shape."""
    (job.folder / "unfitting_nets.py").write_text(NETWORKS)

    def call(network, shape, *flags):
        pixels = np.random.default_rng(0).integers(0, 256, (9, *shape), dtype=np.uint8)
        np.savez(job.folder / "nine.npz", x=pixels, y=np.arange(9) % 3)
        model = ("--model", f"unfitting_nets:{network}", "--num-classes", "3", "--allow-code", "--device", "cpu")
        asked = ("--data", "npz:nine.npz", "--forget-indices", "0", "--minimum-right", "0", "--method", "l2ul")
        return expunge("run", *model, *asked, *flags)

    return call


@pytest.mark.parametrize(
    ("network", "shape", "means", "word"),
    [
        ("build", (8, 8), ".5", "3 channels"),
        ("build", (1, 1, 3), ".5", "Kernel size"),
        ("build", (8, 8, 3), ".5,.5", "size of tensor"),
        ("Choosy", (8, 8, 3), ".5", "made for 224"),
    ],
)
def test_images_that_the_network_does_not_take_are_an_error_of_one_line(run, network, shape, means, word):
    said = run(network, shape, "--mean", means, "--std", means, "--out", "out")
    assert said.code == 2
    assert "expected images that the classifier takes" in said.err
    assert word in said.err
    assert "Traceback" not in said.err


@pytest.mark.filterwarnings("ignore::expunge.base.errors.ExpungeWarning")
@pytest.mark.parametrize(("network", "flags"), [("grey", ()), ("flat", ("--crop", "8"))])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_image_files_are_grey_for_a_network_of_one_channel(run, job, network, flags, mode):
    for number in range(9):
        path = job.folder / "grey" / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
    quick = ("--mean", ".5", "--std", ".2", "--set", "attack.steps=1", "--max-steps", "2", "--out", "out")
    done = run(network, (8, 8), *quick, *flags, "--data", "imagefolder:grey")
    assert "saved to out" in done.err + done.out
    assert json.loads((job.folder / "out" / "classifier.json").read_text())["shape"] == [1, 8, 8]
    assert ("converted from RGB to greyscale" in done.err + done.out) == (mode == "RGB")


@pytest.mark.filterwarnings("ignore::expunge.base.errors.ExpungeWarning")
def test_what_a_wrapped_network_was_saved_as_is_read_again(run):
    flags = ("--mean", ".5", "--std", ".2", "--set", "attack.steps=1", "--max-steps", "2")
    first = run("parallel", (8, 8, 3), *flags, "--out", "first")
    assert "saved to first" in first.err + first.out
    second = run("parallel", (8, 8, 3), *flags, "--out", "second", "--weights", "first/model.safetensors")
    assert "saved to second" in second.err + second.out
