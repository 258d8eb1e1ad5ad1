"""CIFAR-10, ResNet-20: what a picture can be rebuilt to from the keeper that takes its place.

    python benchmarks/keepers_inversion.py

Whoever has a project's key and its classifier can look for a picture that goes through the cut as the forgotten one
did. This does it by gradient descent on the pixels: Adam, from grey, on the relative squared distance of what goes
through the cut, and a little roughness, whose weight is the one that is best for the attack. Cuts lie before the last
7, 5, 3 and 1 of 20 layers; `requests init --keepers` cuts before the last 5. Pictures are of CIFAR-10, no persons.

- SSIM: structural similarity of the rebuilt picture and the picture, in grey, windows of 7 pixels (Wang et al. 2004).
- Recognised: a ResNet-32 gives the rebuilt picture the picture's label.
- Found: of 1,000 training pictures, the picture itself correlates most with the rebuilt one, pixel by pixel.

"Another picture" are the figures of a picture of the same class in place of a rebuilt one: what whoever knows the label
has anyway. Writes README.md, measured.jsonl and pictures.png to benchmarks/results/keepers_inversion; cuts that are in
measured.jsonl are not attacked again, but for the few pictures that are shown. Needs classifiers and arrays of
benchmarks/README.md; a quarter of an hour on one core.
"""

import contextlib
import io
import json
import os
import platform
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from matplotlib import pyplot
from PIL import Image
from scipy.ndimage import uniform_filter
from torch import Tensor

from expunge._version import __version__
from expunge.base.disk import write_text
from expunge.bench.cells import find_data
from expunge.data import load_data
from expunge.methods.continual import find_keeper_cut
from expunge.methods.tracing import find_layers
from expunge.models.classifier import Classifier
from expunge.models.folding import fold_batchnorm
from expunge.models.modes import hooked
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier
from expunge.models.tails import enter, find_cut
from expunge.task.evaluation import compute_logits
from expunge.task.keepers import from_levels, to_levels

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "keepers_inversion"
PICTURES_FILE = RESULTS / "pictures.png"
PICTURES, CANDIDATES, STEPS, RATE = 32, 1000, 300, 0.05
ROUGHNESS = (0.03, 0.1, 0.3, 1.0)
LAYERS = (5, 7, 3, 1)
SHOWN = 8
ANOTHER = "another picture"


class _Enough(Exception):  # noqa: N818 - no error: what comes after the cut is not needed
    pass


def main() -> None:
    """Attack each cut, write page, figures and pictures."""
    train = load_data(f"npz:{ROOT / 'runs' / 'data' / 'cifar10.npz'}").train
    classifier, judge = load("resnet20"), load("resnet32")
    x, labels = train.load(range(CANDIDATES)), train.labels[:CANDIDATES]
    chosen = torch.cat([(labels == label).nonzero().flatten()[: PICTURES // 10 + 1] for label in range(10)])[:PICTURES]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "measured.jsonl"
    lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()] if path.exists() else []
    if not lines:
        others = torch.tensor([next(row for row in same(labels, one) if row not in chosen) for one in chosen.tolist()])
        lines.append(measure(ANOTHER, x[others], x, labels, chosen, judge))
    layers = find_layers(classifier, x[:2])
    for count in LAYERS:
        cut = find_cut(classifier, layers[-count].module, x[:2])
        assert cut is not None  # noqa: S101 - a ResNet can be cut between its blocks
        if any(line["cut"] == cut for line in lines):
            continue
        tried = [attack(classifier, cut, x[chosen], weight) for weight in ROUGHNESS]
        found = [measure(cut, each, x, labels, chosen, judge) for each in tried]
        best = max(range(len(found)), key=lambda number: found[number]["ssim"])
        numbers = int(np.prod(enter(classifier, cut, x[:1]).shape[1:]))
        lines.append({**found[best], "layers": count, "numbers": numbers, "roughness": ROUGHNESS[best]})
        lines[-1]["tried"] = [
            [weight, round(float(each["ssim"]), 3)] for weight, each in zip(ROUGHNESS, found, strict=True)
        ]
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    shown = x[chosen[:: PICTURES // SHOWN]]
    cuts = sorted((line for line in lines if "layers" in line), key=lambda line: -line["layers"])
    draw(shown, {f"last {each['layers']}": attack(classifier, each["cut"], shown, each["roughness"]) for each in cuts})
    write_text(RESULTS / "README.md", make_page(lines, find_keeper_cut(classifier, x[:2])))


def load(name: str) -> Classifier:
    """Return a classifier of CIFAR-10."""
    weights = find_data() / "classifiers" / f"cifar10_{name}.safetensors"
    source = ModelSource(f"cifar:{name}", weights, 10, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return load_classifier(source).classifier


def same(labels: Int[Tensor, " n"], row: int) -> list[int]:
    """Return the other pictures of a picture's class."""
    return [other for other in (labels == labels[row]).nonzero().flatten().tolist() if other != row]


def attack(classifier: Classifier, cut: str, x: Float[Tensor, "n 3 h w"], roughness: float) -> Float[Tensor, "n 3 h w"]:
    """Return pictures that go through the cut nearly as `x` does, of which only the keeper is used."""
    keeper = from_levels(*to_levels(enter(classifier, cut, x)))
    fast = fold_batchnorm(classifier, x[:2])
    pixels = torch.full_like(x, 0.5) + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    pixels.requires_grad_(True)
    optimiser = torch.optim.Adam([pixels], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    size = keeper.flatten(1).square().sum(dim=1)
    for _ in range(STEPS):
        optimiser.zero_grad()
        missed = (through(fast, cut, pixels) - keeper).flatten(1).square().sum(dim=1) / size
        down, right = pixels[:, :, 1:] - pixels[:, :, :-1], pixels[..., 1:] - pixels[..., :-1]
        (missed.sum() + roughness * len(x) * (down.abs().mean() + right.abs().mean())).backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return pixels.detach()


def through(classifier: Classifier, cut: str, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d e f"]:
    """Return what goes through the cut, with gradients."""
    made: list[Tensor] = []

    def stop(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        made.append(output)
        raise _Enough

    with hooked([(classifier.module.get_submodule(cut), stop)]), contextlib.suppress(_Enough):
        classifier(x)
    return made[0]


def measure(
    cut: str, rebuilt: Tensor, x: Tensor, labels: Tensor, chosen: Int[Tensor, " n"], judge: Classifier
) -> dict[str, float | int | str]:
    """Return how near rebuilt pictures come to those that they were rebuilt from."""
    alike = [ssim(one, other) for one, other in zip(grey(rebuilt), grey(x[chosen]), strict=True)]
    recognised = compute_logits(judge, rebuilt).argmax(dim=1) == labels[chosen]
    one, other = (F.normalize(each.flatten(1) - each.flatten(1).mean(dim=1, keepdim=True)) for each in (rebuilt, x))
    correlation = one @ other.T
    place = 1 + (correlation > correlation[torch.arange(len(chosen)), chosen][:, None]).sum(dim=1)
    return {
        "cut": cut,
        "pictures": len(chosen),
        "ssim": float(np.mean(alike)),
        "recognised": 100 * float(recognised.double().mean()),
        "found": 100 * float((place == 1).double().mean()),
        "place": float(place.double().median()),
    }


def grey(x: Float[Tensor, "n 3 h w"]) -> list[np.ndarray]:
    """Return pictures in grey."""
    return list((x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1).double().numpy())


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Return the structural similarity of two pictures of values 0..1, windows of 7 pixels."""
    mean, means = uniform_filter(one, 7), uniform_filter(other, 7)
    variance, variances = uniform_filter(one**2, 7) - mean**2, uniform_filter(other**2, 7) - means**2
    together = uniform_filter(one * other, 7) - mean * means
    top = (2 * mean * means + 1e-4) * (2 * together + 9e-4)
    return float((top / ((mean**2 + means**2 + 1e-4) * (variance + variances + 9e-4)))[3:-3, 3:-3].mean())


def draw(x: Float[Tensor, "n 3 h w"], rebuilt: dict[str, Tensor]) -> None:
    """Write a sheet of pictures and what they were rebuilt to."""
    mpl.rcParams["font.size"] = 7
    rows = {"picture": x, **rebuilt}
    figure, axes = pyplot.subplots(len(rows), SHOWN, figsize=(SHOWN * 0.9, len(rows) * 0.95), layout="constrained")
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for place, picture in zip(line, pictures, strict=True):
            place.imshow(picture.permute(1, 2, 0).numpy())
            place.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, metadata={"Software": None})
    Image.open(stream).convert("RGB").quantize(256).save(PICTURES_FILE, optimize=True)


def make_page(lines: list[dict[str, float | int | str]], default: str | None) -> str:
    """Return the Markdown page."""
    rows = []
    for line in sorted(lines, key=lambda line: -int(line.get("layers", 0))):
        name = (
            ANOTHER
            if line["cut"] == ANOTHER
            else f"last {line['layers']}" + (" (default)" if line["cut"] == default else "")
        )
        rows.append(
            f"| {name} | {line.get('numbers', '')} | {line['ssim']:.2f} | {line['recognised']:.0f} | "
            f"{line['found']:.0f} | {line['place']:.0f} |"
        )
    return "\n".join(
        [
            "# What a picture can be rebuilt to from its keeper",
            "",
            "\n\n".join((__doc__ or "").split("\n\n")[2:]),
            f"Means over {PICTURES} training pictures; {STEPS} steps of Adam at {RATE}.",
            "",
            "| layers after the cut | numbers in a keeper | SSIM | recognised, % | found, % | median place of "
            f"{CANDIDATES:,} |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *(["![pictures, and what they are rebuilt to](pictures.png)", ""] if PICTURES_FILE.exists() else []),
            "Written by `python benchmarks/keepers_inversion.py`; [measured.jsonl](measured.jsonl) has the figures.",
            "",
            f"Machine: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; torch "
            f"{torch.__version__}, expunge {__version__}, device cpu.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
