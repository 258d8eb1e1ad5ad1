"""Results that stand in one table are of the same classifier and images."""

from collections.abc import Sequence

from expunge.base.errors import DataError
from expunge.bench.cells import Cell
from expunge.jobs.job import GoalChoice

WEIGHTS, DATA, FORGET = "weights_sha256", "data_sha256", "forget_sha256"
WHAT = {WEIGHTS: "classifier", DATA: "images and labels", FORGET: "images to forget"}
"""What each hash among a result's inputs is of; older results lack some of them."""
NAMED, DIGITS = 3, 12


def check_alike(cells: Sequence[Cell]) -> None:
    """Check that cells of a classifier have the same images, of a file the same weights, of a forget set the same rows.

    Raises:
        DataError: they have not; a mean over them, or a difference between them, would be of nothing.
    """
    first: dict[object, tuple[str, Cell]] = {}
    for name, what in WHAT.items():
        for cell in cells:
            told = cell.inputs().get(name)
            if told is None or cell.result() is None:
                continue
            further = {WEIGHTS: cell.job.model.weights, FORGET: rows_of(cell)}
            shared = (name, cell.classifier, further.get(name))
            known, other = first.setdefault(shared, (told, cell))
            if told != known:
                raise DataError(
                    name_cells([each for each in cells if each.inputs().get(name) == told]),
                    f"results of the same {what} as {other.name} ({name} {known[:DIGITS]})",
                    f"others ({told[:DIGITS]})",
                    "they make no table together; delete the folders, or lines of results.jsonl, of one of them",
                )


def rows_of(cell: Cell) -> tuple[object, ...]:
    """Return what says which rows are drawn."""
    return (cell.goal, cell.job.goal is GoalChoice.CORRECT, cell.count, cell.seed)


def name_cells(cells: Sequence[Cell]) -> str:
    """Return the names of the first few cells, and how many more there are."""
    more = f" and {len(cells) - NAMED} more" if len(cells) > NAMED else ""
    return "; ".join(cell.name for cell in cells[:NAMED]) + more
