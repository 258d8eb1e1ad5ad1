"""`make attack`: all attacks, each in its long form, and the table in SECURITY.md.

    python tests/attack             all of them, on every core
    python tests/attack WORD ...    those whose names hold one of these words; the other lines of the table stay

Every try is kept in `runs/attack` as soon as it is made, under a hash of the sources. A command that was stopped goes on
from there; one after a whole run begins anew.
"""

import hashlib
import json
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.parent / "samples"))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: each child has one core

from table import Attack, Tried, all_attacks  # noqa: E402
from tries import fast_folder, make_tries_at_once  # noqa: E402

PAGE = ROOT / "SECURITY.md"
BEGIN, END = "<!-- attacks, by make attack -->\n", "<!-- end of attacks -->"
HEADER = "| attack | tries | said in words | lost | tracebacks | core seconds |\n|---|---|---|---|---|---|\n"


class Record:
    """The tries that were made with these sources, one JSON line each."""

    def __init__(self, folder: Path) -> None:
        found = hashlib.sha256()
        for path in sorted([*(ROOT / "src").rglob("*.py"), *HERE.glob("*.py")]):
            found.update(path.read_bytes())
        self._path = folder / f"{found.hexdigest()[:12]}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.tries = dict[tuple[str, int], tuple[Tried, float]]()
        if self._path.exists():
            self._load()

    def _load(self) -> None:
        for line in self._path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # a line that a kill cut off is made again
                known = json.loads(line)
                self.tries[known["attack"], known["number"]] = Tried(**known["tried"]), known["seconds"]

    def begin_anew(self) -> None:
        """Forget all."""
        self._path.unlink(missing_ok=True)
        self.tries.clear()

    def add(self, attack: str, number: int, tried: Tried, seconds: float) -> None:
        """Keep a try and its core seconds."""
        self.tries[attack, number] = tried, seconds
        with self._path.open("a") as stream:
            known = {"attack": attack, "number": number, "seconds": seconds, "tried": asdict(tried)}
            stream.write(json.dumps(known) + "\n")


def make(attacks: Sequence[Attack], record: Record, progress: Progress, cores: int) -> None:
    """Make what is missing in the record."""
    bar = progress.add_task("", total=sum(attack.tries for attack in attacks))
    for attack in attacks:
        missing = [number for number in range(attack.tries) if (attack.name, number) not in record.tries]
        progress.update(bar, description=attack.name, advance=attack.tries - len(missing))
        with fast_folder() as folder:
            spent = cpu_seconds()
            for number, tried in make_tries_at_once(attack, folder, missing, cores):
                record.add(attack.name, number, tried, cpu_seconds() - spent)
                spent = cpu_seconds()
                progress.advance(bar)


def cpu_seconds() -> float:
    """Return the seconds that this process and its children that have ended took of the cores."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def line_of(attack: Attack, tries: Mapping[tuple[str, int], tuple[Tried, float]]) -> str:
    """Return the attack's line of the table."""
    made = [tries[attack.name, number] for number in range(attack.tries)]
    found, lost, broken = (sum(bool(getattr(one, part)) for one, _ in made) for part in ("found", "lost", "broken"))
    return f"| {attack.name} | {len(made)} | {found} | {lost} | {broken} | {sum(each for _, each in made):.0f} |\n"


def notes_of(attack: Attack, tries: Mapping[tuple[str, int], tuple[Tried, float]]) -> list[str]:
    """Return what happened, for whoever mends it."""
    made = {number: tries[attack.name, number][0] for number in range(attack.tries)}
    wrong = [
        f"{attack.name} {number}: {one.lost} {one.broken}" for number, one in made.items() if one.lost or one.broken
    ]
    counted = Counter(one.note for one in made.values() if one.note)
    return wrong + [f"{attack.name}: {note}: {count}" for note, count in counted.items()]


def write_page(attacks: Sequence[Attack], tries: Mapping[tuple[str, int], tuple[Tried, float]]) -> None:
    """Put the lines of these attacks into the page's table, and leave out those that are no attacks any more."""
    head, rest = PAGE.read_text("utf-8").split(BEGIN)
    table, tail = rest.split(END)
    known = {line.split(" | ")[0].removeprefix("| "): f"{line}\n" for line in table.splitlines()}
    made = known | {attack.name: line_of(attack, tries) for attack in attacks}
    lines = "".join(made[attack.name] for attack in all_attacks() if attack.name in made)
    PAGE.write_text(f"{head}{BEGIN}\n{HEADER}{lines}\n{END}{tail}", "utf-8")


def main(words: Sequence[str]) -> int:
    """Make the attacks, print their lines and put them into the page; return 1 if anything was lost or broke."""
    warnings.simplefilter("ignore")
    attacks = [each for each in all_attacks() if not words or any(word in each.name for word in words)]
    record, cores, started = Record(ROOT / "runs/attack"), os.cpu_count() or 1, time.monotonic()
    if all((each.name, number) in record.tries for each in attacks for number in range(each.tries)):
        record.begin_anew()
    before = len(record.tries)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        make(attacks, record, progress, cores)
    minutes = (time.monotonic() - started) / 60
    print("\n".join(note for each in attacks for note in notes_of(each, record.tries)), file=sys.stderr)
    lines = "".join(line_of(each, record.tries) for each in attacks)
    print(f"{HEADER}{lines}\n{len(record.tries) - before} tries in {minutes:.1f} minutes on {cores} cores")
    write_page(attacks, record.tries)
    wrong = any(one.lost or one.broken for one, _ in record.tries.values())
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
