"""Write CIFAR-10 and CIFAR-100 as the grids read them: runs/data/cifar10.npz and cifar100.npz.

    python benchmarks/prepare.py [FOLDER]

torchvision downloads both to FOLDER (default: torchvision/ in EXPUNGE_DATA, or in data/) where they are missing.
Training images stay in the original order, test images are sorted by class. A file that is there already is left alone.
Needs `pip install expunge[models]`.
"""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from expunge.base.disk import write_bytes
from expunge.bench.cells import find_data

ARRAYS = Path(__file__).resolve().parent.parent / "runs" / "data"


def main(arguments: list[str]) -> str | None:
    """Download what is missing, write both files, and return what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=find_data() / "torchvision", help="of the downloads")
    folder = parser.parse_args(arguments).folder
    try:
        write_both(folder)
    except OSError as error:
        return f"expected the images in {folder}, or a way to download them: {error}"
    return None


def write_both(folder: Path) -> None:
    """Write the arrays of both sets, where their file is missing."""
    from torchvision import datasets  # noqa: PLC0415 - an optional extra

    ARRAYS.mkdir(parents=True, exist_ok=True)
    for name, kind in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        path = ARRAYS / f"{name}.npz"
        if path.exists():
            continue
        arrays: dict[str, Any] = make_arrays(*(kind(folder, train=train, download=True) for train in (True, False)))
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        write_bytes(path, stream.getvalue())
        print(path)


def make_arrays(train: Any, test: Any) -> dict[str, np.ndarray]:  # noqa: ANN401 - torchvision is optional
    """Return uint8 images (n, 32, 32, 3), int64 labels and the names of the classes; test images sorted by class."""
    labels = np.asarray(test.targets, dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    return {
        "x_train": train.data,
        "y_train": np.asarray(train.targets, dtype=np.int64),
        "x_test": test.data[order],
        "y_test": labels[order],
        "classes": np.asarray(train.classes),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
