"""Rebuilding a forgotten picture from what a project keeps, after its images were deleted, without the key.

On a fully connected network, what an edit adds to the first layer is nearly an outer product with the picture: the
first right singular vector of newest minus first weights is the picture, up to sign and scale. The attacker has all
training pictures, and asks which of them it is. Run as a script, this prints the table of docs/requests.md.
"""

import random
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from ledger_project import hasten, put_on_path
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from table import Attack, Tried, Try
from torch import nn

from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.jobs.demo import load_digit_images
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource
from expunge.requests.apply import apply_waiting
from expunge.requests.create import Plan, create_project
from expunge.requests.project import Ledger
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing
from expunge.requests.weights import read_first
from expunge.task.task import Strength

METHODS = {"least-change": {}, "l2ul": {}, "negative-gradient": {"descent": {"learning_rate": 0.1}}}
"""Each with the settings that it reaches the goal with here."""
LAYER = "1.weight"
NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
"""


def make_plan(folder: Path) -> tuple[Plan, list[int]]:
    """Return the plan of a project around a fully connected network for digits, and the rows that it gets right."""
    name = put_on_path(folder, NETWORK)
    train = load_digit_images().train
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(15):
        for rows in torch.randperm(len(train.labels)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(network(train.pixels[rows]), train.labels[rows]).backward()
            optimiser.step()
    save_file(network.state_dict(), folder / "weights.safetensors")
    source = ModelSource(f"{name}:build", folder / "weights.safetensors", 10, Normalisation((0.0,), (1.0,)))
    right = (network(train.pixels).argmax(1) == train.labels).nonzero().flatten().tolist()
    return Plan(model=source, strength=Strength.EXACT, budget=90.0), right


def forget(plan: Plan, folder: Path, method: str, row: int) -> None:
    """Make a project in which one picture was forgotten, and its images were deleted."""
    train = load_digit_images().train
    create_project(folder, replace(plan, method=method, settings=METHODS[method]))
    with writing(folder) as ledger:
        receive(ledger, ForgetSet(("it",), train.pixels[[row]], train.labels[[row]]), RequestOptions())
        report = apply_waiting(ledger, Runtime())
        assert report.verified == ("R0001",), (method, row, report.failed)
        assert list((folder / "images").iterdir()) == []


def attack_unsealed(folder: Path) -> torch.Tensor:
    """Return what can be seen (64,) in a folder as older versions left it, with the first weights unsealed."""
    newest = load_file(folder / "current.safetensors")
    return first_direction(newest[LAYER] - read_first(Ledger.open(folder))[LAYER])


def attack_sealed(folder: Path) -> torch.Tensor:
    """Return what can be seen (64,) in a folder without its key."""
    newest, older = load_file(folder / "current.safetensors")[LAYER], find_older(folder)
    return first_direction(newest if older is None else newest - older)


def find_older(folder: Path) -> torch.Tensor | None:
    """Return the first layer (64, 64) of any older weights that can be read without the key."""
    newest = load_file(folder / "current.safetensors")[LAYER]
    for path in folder.rglob("*"):
        with suppress(SafetensorError, OSError):
            tensors = load(path.read_bytes())
            if LAYER not in tensors or not torch.equal(tensors[LAYER], newest):
                return tensors.get(LAYER, newest)
    return None


def first_direction(weights: torch.Tensor) -> torch.Tensor:
    """Return the first right singular vector (64,)."""
    return torch.linalg.svd(weights.double())[2][0]


def compare(direction: torch.Tensor, row: int) -> tuple[float, int]:
    """Return the correlation of a direction with the picture, and the picture's place among all training pictures."""
    pictures = load_digit_images().train.pixels.flatten(1).double()
    centred = F.normalize(pictures - pictures.mean(1, keepdim=True))
    found = (centred @ F.normalize(direction - direction.mean(), dim=0)).abs()
    return float(found[row]), int((found > found[row]).sum()) + 1


def measure(folder: Path, tries: int) -> list[tuple[str, bool, float, int]]:
    """Return method, whether sealed, correlation and place, for `tries` pictures a method."""
    hasten()
    (plan, right), found = make_plan(folder), []
    for method in METHODS:
        for number in range(tries):
            place, row = folder / f"{method}-{number}" / "project", right[83 * number % len(right)]
            forget(plan, place, method, row)
            for sealed, attack in ((False, attack_unsealed), (True, attack_sealed)):
                found.append((method, sealed, *compare(attack(place), row)))
    return found


def rebuild(folder: Path) -> Try:
    """Look for older weights, or a patch, that can be read without the key."""
    hasten()
    plan, right = make_plan(folder / "inputs")

    def attempt(place: Path, draw: random.Random, number: int) -> Tried:
        method, project = list(METHODS)[number % len(METHODS)], place / "sealed" / "project"
        forget(plan, project, method, right[83 * number % len(right)])
        readable = find_older(project) is not None
        return Tried(not readable, f"{method}: older weights or a patch can be read" if readable else "")

    return attempt


ATTACKS = [Attack("older weights without the key", rebuild, 12, 3)]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        results = measure(Path(temporary), int(sys.argv[1]) if len(sys.argv) > 1 else 8)
    print("| method | files | correlation | named first | median place |\n|---|---|---|---|---|")
    for method in METHODS:
        for sealed in (False, True):
            chosen = [(value, place) for one, other, value, place in results if (one, other) == (method, sealed)]
            values, places = (torch.tensor([pair[part] for pair in chosen]).double() for part in (0, 1))
            first = f"{int((places == 1).sum())} of {len(chosen)}"
            kind = "sealed" if sealed else "unsealed"
            print(f"| {method} | {kind} | {values.mean():.2f} | {first} | {int(places.median())} |")
