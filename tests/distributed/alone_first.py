"""Two processes, the first of which works on its own for longer than either waits for the other's part of a step.

    python alone_first.py SECONDS

Each prints what both add up to.
"""

import sys
import time
from datetime import timedelta

import torch

from expunge.compute import distributed


def main(seconds):
    """Be one of the two."""
    distributed.PATIENCE = timedelta(seconds=seconds / 2)
    processes = distributed.start_processes("cpu", 2, 1)
    for _ in range(2):
        if processes.rank == 0:
            time.sleep(seconds)
        processes.follow()
        ones = torch.ones(2)
        processes.sum([ones])
        sys.stdout.write(f"{ones.tolist()}\n")  # in one piece: both write to one pipe, buffered or not


if __name__ == "__main__":
    main(float(sys.argv[1]))
