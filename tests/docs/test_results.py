"""Tables and pages are what results say: the README's tables, and the page on performance."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LABELS = {
    "`least-change`, exact": "least-change (exact)",
    "`least-change`, robust": "least-change (robust)",
    "`l2ul`": "l2ul (stable)",
    "`l2ul-faithful`": "ADV+IMP",
    "ADV": "ADV",
    "DELETE": "delete",
    "negative gradient": "negative-gradient",
}


def table_after(text, head):
    """Return the lines of the first table whose head begins so, as lists of cells."""
    lines = text[text.index(head) :].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


def measured(name):
    """Return the measured columns of a result page by number of images and label."""
    text = (ROOT / "benchmarks" / "results" / name / "README.md").read_text("utf-8")
    head, *lines = table_after(text, "| k | method |")
    found = [dict(zip(head, line, strict=True)) for line in lines]
    return {(line["k"], line["method"]): line for line in found}


def mean(cell):
    return float(re.match(r"-?[\d.]+", cell.replace("*", ""))[0])


def agree(shown, found):
    """Return whether a figure is the measured one, rounded."""
    digits = len(shown.partition(".")[2])
    return abs(float(shown) - found) <= 0.5 * 10**-digits + 1e-9


@pytest.mark.parametrize(
    ("number", "page", "in_brackets", "otherwise"),
    [(0, "single_cifar10", "robust, %", None), (1, "single_cifar10_resnet18", "goal, %", 100.0)],
)
def test_a_table_of_the_readme(number, page, in_brackets, otherwise):
    readme = (ROOT / "README.md").read_text("utf-8")
    starts = [match.start() for match in re.finditer(r"^\| images to forget", readme, re.MULTILINE)]
    head, *lines = table_after(readme[starts[number] :], "| images to forget")
    rows = measured(page)
    for count, *cells in lines:
        for name, cell in zip(head[1:], cells, strict=True):
            row = rows.get((count, LABELS[name]))
            if cell == "-":
                assert row is None, (count, name)
                continue
            drop, bracket = re.fullmatch(r"([\d.]+)(?: \((\d+)%\))?", cell).groups()
            assert agree(drop, mean(row["test drop"])), (count, name)
            share = mean(row[in_brackets])
            assert agree(bracket, share) if bracket else share == otherwise, (count, name)


def test_the_page_on_performance_says_what_its_script_writes():
    text = runpy.run_path(str(ROOT / "benchmarks" / "speed" / "page.py"))["TEXT"]
    assert (ROOT / "docs" / "performance.md").read_text("utf-8").startswith(text)
