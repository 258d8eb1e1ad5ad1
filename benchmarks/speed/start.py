"""Start-up: `expunge --help`, and `import expunge` beside torch's own import, taking turns.

    python benchmarks/speed/start.py [ROUNDS]

Each is a process of its own; seconds are those that it took of the processor. Half a minute.
"""

import os
import subprocess
import sys
from functools import partial
from typing import Any

from setting import keep

COMMANDS = {
    "expunge --help": ["-m", "expunge", "--help"],
    "import torch": ["-c", "import torch"],
    "import expunge, with torch": ["-c", "import expunge; expunge.unlearn"],
}


def measure(arguments: list[str]) -> dict[str, Any]:
    """Return the seconds of one process."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603 - our own commands
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": spent, "wall_seconds": after.elapsed - before.elapsed}


def main(rounds: int) -> None:
    """Measure what is missing."""
    for number in range(rounds):
        for name, arguments in COMMANDS.items():
            keep(f"start/{name}-{number}", partial(measure, arguments))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
