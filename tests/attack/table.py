"""Attacks on what the package keeps, with fixed seeds.

Every module of this folder named `*_attacks` takes part with its list `ATTACKS`. `make attack` makes all tries and
prints one table; `make test` makes the first few of each attack.
"""

import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOUND = Path(__file__).parent.glob("*_attacks.py")
MODULES = sorted(path.stem for path in FOUND if path.stem != "test_attacks")


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one try.

    Args:
        found: whether the package said so, in words.
        lost: what was lost, mixed or taken for true without a word; empty if nothing was.
        broken: the traceback, or words that nobody can act on; empty if there were none.
        note: what else is counted.
    """

    found: bool = False
    lost: str = ""
    broken: str = ""
    note: str = ""


Try = Callable[[Path, random.Random, int], Tried]
"""Makes one try in an empty folder of its own, with its own randomness and number."""


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack by name.

    Args:
        name: as the table has it.
        begin: takes an empty folder, prepares there what all tries share, and returns what makes one.
        tries: in the long form.
        short: in the short form.
        together: how many tries a child makes in the long form; more than one where a try leaves nothing behind.
        slow: whether the short form takes more than ten seconds.
        cores: that a try keeps busy.
    """

    name: str
    begin: Callable[[Path], Try]
    tries: int
    short: int
    together: int = 1
    slow: bool = False
    cores: int = 1


def all_attacks() -> list[Attack]:
    """Return the attacks of all modules."""
    return [attack for name in MODULES for attack in importlib.import_module(name).ATTACKS]
