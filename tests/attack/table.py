"""Attacks on what the package keeps, with fixed seeds: `make attack` runs all of them and prints one table.

Every module of this folder named `*_attacks` takes part with its list `ATTACKS`. `make test` runs each attack in its
short form.
"""

import importlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOUND = Path(__file__).parent.glob("*_attacks.py")
MODULES = sorted(path.stem for path in FOUND if path.stem != "test_attacks")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attack.

    Args:
        tries: how often it was made.
        found: how often the package said so, in words.
        lost: what was lost, mixed or taken for true without a word.
        tracebacks: commands that ended in one.
        notes: what happened to the lost ones and in the tracebacks, for whoever mends it.
    """

    tries: int
    found: int
    lost: int
    tracebacks: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack by name.

    Args:
        name: as the table has it.
        make: takes an empty folder and how many tries to make.
        tries: in the long form.
        short: in the short form.
        slow: whether the short form takes more than ten seconds.
    """

    name: str
    make: Callable[[Path, int], Outcome]
    tries: int
    short: int
    slow: bool = False


def all_attacks() -> list[Attack]:
    """Return the attacks of all modules."""
    return [attack for name in MODULES for attack in importlib.import_module(name).ATTACKS]


def main(names: list[str]) -> int:
    """Run the attacks whose names hold one of these words, or all; print the table; return 1 if anything was lost."""
    failed = False
    warnings.simplefilter("ignore")
    print("| attack | tries | found | lost | tracebacks | seconds |\n|---|---|---|---|---|---|")
    for attack in all_attacks():
        if names and not any(name in attack.name for name in names):
            continue
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            one = attack.make(Path(folder), attack.tries)
        seconds = time.perf_counter() - started
        cells = (attack.name, one.tries, one.found, one.lost, one.tracebacks, f"{seconds:.0f}")
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        for note in one.notes:
            print(f"  {note}", file=sys.stderr, flush=True)
        failed = failed or one.lost > 0 or one.tracebacks > 0
    return int(failed)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "samples"))
    sys.exit(main(sys.argv[1:]))
