"""Commands of a project of deletion requests, with few requests and with many: processor seconds and memory.

    python benchmarks/speed/ledger.py [REQUESTS] [ROUNDS]

The requests are copies of one. Each command is a process of its own; the smallest of the rounds is printed, in seconds
of the processor, with the most memory that it held, and beside that what was its own rather than files of libraries.
Three minutes for 100,000 requests.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from expunge.requests.chain import Body
from expunge.requests.database import Fingerprint
from expunge.requests.hashes import digest_of
from expunge.requests.recovery import writing

MODEL = [
    "--model",
    "expunge.jobs.demo:DigitNet",
    "--weights",
    "digits/weights.safetensors",
    "--mean",
    "0",
    "--std",
    "1",
]
DATA = ["--data", "npz:digits/images.npz"]
AT_ONCE, NUMBERED = 5000, 1_000_000
MEASURED = r"""
import atexit, re, sys
from pathlib import Path

def said():
    status = Path("/proc/self/status").read_text()
    peak, own = (re.search(name + r":\s+(\d+) kB", status)[1] for name in ("VmHWM", "RssAnon"))
    print("MEMORY", peak, own, file=sys.stderr)

atexit.register(said)
"""
COMMANDS = {
    "torch alone": "import torch",
    "list": ["list"],
    "show": ["show", "R0001"],
    "verify": ["verify"],
    "add": ["add", *DATA, "--rows"],
}


def run(folder: Path, command: str | list[str]) -> tuple[float, float, float]:
    """Return the seconds that a process takes of the processor, the MB that it holds at most, and those of its own."""
    code = command if isinstance(command, str) else "from expunge.cli import main; main()"
    arguments = [] if isinstance(command, str) else command
    before = os.times()
    said = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-c", MEASURED + code, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    after = os.times()
    peak, own = map(int, re.search(r"MEMORY (\d+) (\d+)", said.stderr).groups())  # type: ignore[union-attr]
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, peak / 1024, own / 1024


def fill(folder: Path, requests: int) -> None:
    """Add copies of the first request until there are so many."""
    with writing(folder) as ledger:
        received, validated = (entry.body for entry in ledger.entries[1:3])
        for start in range(1, requests, AT_ONCE):
            copies, prints = list[tuple[str, Body]](), list[Fingerprint]()
            for number in range(start, min(start + AT_ONCE, requests)):
                name = f"R{NUMBERED + number}"
                own = (name, 0, ledger.keys.seal(bytes(16), name))
                prints.append(own)
                copies.append(("received", {**received, "request": name, "fingerprints": digest_of([own])}))
                copies.append(("validated", {**validated, "request": name}))
            ledger.append(copies, prints)


def main(requests: int, rounds: int) -> None:
    """Measure a small project and a large one."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run(folder, ["demo", "--inputs", "digits"])
        run(folder, ["requests", "init", "project", *MODEL, "--method", "l2ul"])
        os.environ["EXPUNGE_PROJECT"] = "project"
        row = 0
        for count in (1, requests):
            if count == 1:
                run(folder, ["requests", "add", *DATA, "--rows", "0", "--reference", "letter"])
            else:
                fill(folder / "project", count)
            for name, command in COMMANDS.items():
                found = []
                for _ in range(rounds):
                    row += 1
                    arguments = [str(row)] if name == "add" else []
                    found.append(
                        run(folder, command if isinstance(command, str) else ["requests", *command, *arguments])
                    )
                seconds, peak, own = (min(values) for values in zip(*found, strict=True))
                print(
                    f"{count:>7} requests, {name:<12} {seconds:6.2f} s {peak:6.0f} MB, {own:6.0f} MB of its own",
                    flush=True,
                )


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [100_000, 3][len(numbers) :]))
