"""What least change costs beside what was aimed at: one table of all classifiers, from the stored results of the grids.

    python benchmarks/damage.py

The grids are least_change_cifar10, least_change_cifar100, single_cifar10_resnet18 and utkface. The digits of the demo
are forgotten here, with ten seeds, in about four core-minutes; a seed that is done is kept. Writes README.md and
measured.jsonl to benchmarks/results/damage.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from released_l2ul import gather_seeds

from expunge.base.disk import write_text
from expunge.compute.bars import Bars
from expunge.jobs.demo import Way, run_demo
from expunge.task.task import Strength

RESULTS = Path(__file__).resolve().parent / "results"
FOLDER = RESULTS / "damage"
DIGITS, SEEDS = FOLDER / "measured.jsonl", range(10)
CELL = re.compile(r"(?:(?P<classifier>\w+), )?least-change \((?P<strength>\w+)\), k = (?P<count>\d+), seed \d+")

Edit = tuple[str, int]
"""Strength and number of images."""


@dataclass(frozen=True, slots=True)
class Group:
    """The edits of one classifier.

    Args:
        title: names the classifier.
        grid: whose stored results they are.
        classifier: begins the names of its cells, where the grid has several.
        wanted: points of test accuracy that may be lost at most.
        earlier: points that were lost in November 2026, before the aims were set.
        released: the classifier's name in the results of L2UL as released.
    """

    title: str
    grid: str
    classifier: str | None = None
    wanted: Mapping[Edit, float] = field(default_factory=dict)
    earlier: Mapping[Edit, str] = field(default_factory=dict)
    released: str = ""


CIFAR10 = {("exact", 64): 0.1, ("exact", 256): 0.5, ("robust", 16): 0.15, ("robust", 64): 0.5, ("robust", 256): 2.0}
FACES = {("exact", 16): 0.5, ("exact", 64): 1.5, ("robust", 16): 1.0, ("robust", 64): 3.0}
GROUPS = (
    Group(
        "CIFAR-10, ResNet-20",
        "least_change_cifar10",
        wanted=CIFAR10,
        earlier={
            ("exact", 16): "0.0",
            ("exact", 64): "0.2",
            ("exact", 256): "1.2",
            ("robust", 16): "0.3",
            ("robust", 64): "1.0",
            ("robust", 256): "5.9",
        },
        released="resnet20",
    ),
    Group(
        "CIFAR-10, ResNet-18",
        "single_cifar10_resnet18",
        wanted=CIFAR10,
        earlier={
            ("exact", 16): "0.0",
            ("exact", 256): "2.1",
            ("robust", 16): "0.2",
            ("robust", 64): "1.5",
            ("robust", 256): "12.5",
        },
        released="resnet18",
    ),
    Group(
        "CIFAR-100, ResNet-20",
        "least_change_cifar100",
        wanted={
            ("exact", 64): 0.3,
            ("exact", 256): 0.7,
            ("robust", 16): 0.2,
            ("robust", 64): 0.7,
            ("robust", 256): 2.0,
        },
    ),
    Group(
        "UTKFace, three groups",
        "utkface",
        "mfd",
        wanted=FACES,
        earlier={("exact", 16): "-0.8", ("exact", 64): "5.0", ("robust", 16): "7.4"},
    ),
    Group(
        "UTKFace, four groups",
        "utkface",
        "balanced",
        wanted=FACES,
        earlier={("exact", 16): "-0.3", ("exact", 64): "0.9", ("robust", 16): "2.3"},
    ),
)
DEMO = Group(
    "digits of the demo",
    "",
    wanted={("exact", 16): 0.3, ("robust", 16): 1.5},
    earlier={("exact", 16): "0.4 to 1.1", ("robust", 16): "4.0 to 11.8"},
)
COLUMNS = (
    "classifier",
    "strength",
    "k",
    "forget sets",
    "images forgotten, %",
    "copies that hold, %",
    "points lost",
    "of a set",
    "churn, %",
    "wanted, at most",
    "met",
    "lost in November 2026",
    "L2UL as released loses",
)
ABOUT = """\
# What least change costs, and what was aimed at

Points of test accuracy lost and answers of test images that changed (churn), means over forget sets; "of a set" is the
least and the most that one of them lost. Robust edits are to keep 95% of fresh transformed copies forgotten. L2UL as
released is its authors' loop with ADV+IMP ([results of released_l2ul](../released_l2ul/README.md)), for the exact
pixels alone; in brackets the number of its forget sets, and the share of images forgotten where a limit ended it. Edits
are of thorough effort, the digits' too.

"""
LIMITS = """
What limits it is what stands in for the training images: with 750 real ones beside it, robust edits lose half as much
or less ([own_images](../own_images/README.md)). What was tried, and what failed, is in [the
notebook](../../../docs/notebook/least_change.md). Three sets of ResNet-18, and 64 faces robustly, were not run.

Written by `python benchmarks/damage.py` from the results of the grids.
"""


def main() -> None:
    """Forget the digits that are not forgotten yet, and write the page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    forget_digits()
    lines = list(_digits())
    rows = [row for group in GROUPS for row in make_rows(group, _stored(group))] + list(make_rows(DEMO, lines))
    table = [f"| {' | '.join(cells)} |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    write_text(FOLDER / "README.md", ABOUT + "\n".join(table) + "\n" + LIMITS)


def forget_digits() -> None:
    """Run the demo's two edits by least change with each seed that is not there."""
    ways = (Way("exact", "least-change", Strength.EXACT), Way("robust", "least-change", Strength.ROBUST))
    done = {line["seed"] for line in _digits()}
    for seed in SEEDS:
        if seed in done:
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcomes = run_demo(Path(folder), ways=ways, seed=seed, progress=Bars())
        made = [
            {**_figures(each.result), "strength": way.name, "k": 16, "seed": seed}
            for way, each in zip(ways, outcomes, strict=True)
        ]
        with DIGITS.open("a", encoding="utf-8") as stream:
            stream.write("".join(json.dumps(each) + "\n" for each in made))


def make_rows(group: Group, lines: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    """Yield a row of the table for each strength and number of images that there are."""
    for strength, count in sorted({(line["strength"], line["k"]) for line in lines}):
        some = [line for line in lines if (line["strength"], line["k"]) == (strength, count)]
        lost, held = [line["lost"] for line in some], [line["held"] for line in some if line["held"] is not None]
        wanted, average = group.wanted.get((strength, count)), mean(lost)
        yield (
            group.title,
            strength,
            str(count),
            str(len(some)),
            f"{mean(line['forgotten'] for line in some):.1f}",
            f"{mean(held):.1f}" if held and strength == "robust" else "",
            f"{average:.2f}",
            f"{min(lost):.1f} to {max(lost):.1f}" if len(lost) > 1 else "",
            f"{mean(line['churn'] for line in some):.1f}",
            "" if wanted is None else f"{wanted:g}",
            "" if wanted is None else ("yes" if round(average, 2) <= wanted else "no"),
            group.earlier.get((strength, count), ""),
            _released(group.released, count, some[0]["before"]),
        )


def _stored(group: Group) -> list[dict[str, Any]]:
    found = []
    for text in (RESULTS / group.grid / "results.jsonl").read_text("utf-8").splitlines():
        line = json.loads(text)
        cell = CELL.fullmatch(line["cell"])
        if cell is not None and cell["classifier"] == group.classifier:
            found.append({**_figures(line["result"]), "strength": cell["strength"], "k": int(cell["count"])})
    return found


def _figures(result: Mapping[str, Any]) -> dict[str, Any]:
    before, after = (result[when]["test"] for when in ("before", "after"))
    held = result.get("goal_achieved_robust")
    return {
        "before": before["accuracy"],
        "lost": before["accuracy"] - after["accuracy"],
        "churn": after["churn"],
        "forgotten": 100 * result["goal_achieved"],
        "held": None if held is None else 100 * held,
    }


def _released(classifier: str, count: int, before: float) -> str:
    """Return the mean loss of L2UL by its authors' loop, with the number of forget sets."""
    lines = [
        json.loads(text) for text in (RESULTS / "released_l2ul" / "measured.jsonl").read_text("utf-8").splitlines()
    ]
    asked = ("released", classifier, "ADV+IMP", count)
    keys = ("code", "classifier", "case", "rows")
    ends = gather_seeds(line for line in lines if tuple(line[key] for key in keys) == asked).values()
    if not ends:
        return ""
    forgotten = mean(end.forgotten for end in ends)
    missed = f"; {forgotten:.0f}% forgotten" if forgotten < 100 else ""
    return f"{before - mean(end.test for end in ends):.1f} ({len(ends)}{missed})"


def _digits() -> Iterator[dict[str, Any]]:
    if DIGITS.exists():
        yield from (json.loads(text) for text in DIGITS.read_text("utf-8").splitlines())


if __name__ == "__main__":
    main()
