"""`expunge bench`: a grid of edits, and the tables and plots made from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from expunge.base.disk import write_text
from expunge.base.folders import sweep_below
from expunge.base.settings import to_mapping
from expunge.bench import Cell, make_cells, read_grid
from expunge.bench.check import check_results
from expunge.bench.page import Report, export_csv, export_latex, write_results
from expunge.bench.processes import Budget
from expunge.bench.run import clear_cells
from expunge.bench.schedule import Execution, run_missing
from expunge.bench.smoke import make_smoke
from expunge.bench.store import with_stored
from expunge.cli import EXIT_CELLS_FAILED, EXIT_INTERRUPTED, options
from expunge.cli.say import say, say_lines
from expunge.compute.bars import Bars
from expunge.jobs.job import refuse_code

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"max_content_width": 110})
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Folder of all cells.")
@click.option("--results", type=FOLDER, help="Folder of all pages.  [default: results, beside CONFIG]")
@click.option("--csv", "csv_file", type=FILE, help="Write one line a cell to this file, too.")
@click.option("--latex", "latex_file", type=FILE, help="Write the table in LaTeX to this file, too.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Cells at a time; the cores are divided.")
@click.option("--memory-gigabytes", type=float, help="For all cells at a time.  [default: 80% of what is free]")
@click.option("--ray", "address", metavar="ADDRESS", help="Run the cells on a Ray cluster; local starts one here.")
@click.option("--table", "only_table", is_flag=True, help="Run nothing; write the page from the cells that are done.")
@click.option("--again", is_flag=True, help="Run cells that have no folder, though --results has theirs.")
@options.allow_code
@click.option("--smoke", is_flag=True, help="The same grid in small, on handwritten digits, in seconds; always anew.")
def command(  # noqa: PLR0913 - one argument a flag
    *,
    config: Path,
    runs: Path,
    results: Path | None,
    csv_file: Path | None,
    latex_file: Path | None,
    jobs: int,
    memory_gigabytes: float | None,
    address: str | None,
    only_table: bool,
    again: bool,
    smoke: bool,
    allow_code: bool,
) -> int:
    """Run the cells of the grid CONFIG that have no result yet, then write its page and plots.

    Every cell is a job in a folder of its own under --runs, so the command can be stopped, or killed, and given again.
    What --results has already, of this grid or another, counts as done; --again measures it anew. The page goes to
    RESULTS/NAME/README.md, beside results.jsonl, from which it is made. CONFIG is described in docs/benchmarks.md. The
    exit code is 4 if a cell failed.
    """
    grid, name = read_grid(config), config.stem
    if smoke:
        name, again = f"{name}-smoke", True
        grid, results = make_smoke(grid, runs / "smoke"), results or runs / "smoke" / "results"
        if not only_table:
            clear_cells(runs / name)
    store = results or config.parent / "results"
    bare = make_cells(grid, name=name, runs=runs)
    _refuse_code(() if allow_code or only_table else bare, config)
    cells = with_stored(bare, store, name)
    if not (only_table or again):
        _say_stored(cells, store)
    failures: dict[str, str] = {}
    if not only_table:
        how = Execution(Budget.of_machine(jobs, memory_gigabytes), Bars(), _say, address)
        try:
            failures = run_missing(bare if again else cells, how)
            sweep_below(runs / name)
        except KeyboardInterrupt:
            _say("stopped; the same command goes on")
            return EXIT_INTERRUPTED
    _say_failures(failures)
    if any(cell.result() is not None for cell in cells) or only_table:
        _write(Report(grid, config, cells), store / name, csv_file, latex_file)
    return EXIT_CELLS_FAILED if failures else 0


def _refuse_code(cells: Sequence[Cell], config: Path) -> None:
    """Look at what each cell runs, whichever of the grid's tables it comes from."""
    for cell in cells:
        refuse_code(to_mapping(cell.job), str(config))


def _say_stored(cells: Sequence[Cell], store: Path) -> None:
    stored = sum(cell.is_only_stored for cell in cells)
    if stored:
        _say(f"{store} has the results of {stored} of {len(cells)} cells; --again measures them anew")


def _say_failures(failures: Mapping[str, str]) -> None:
    for cell, reason in failures.items():
        _say(f"failed: {cell}: {reason}")


def _write(report: Report, folder: Path, csv_file: Path | None, latex_file: Path | None) -> None:
    """Write the page and what else is asked for, of results that are those of the grid as it is now."""
    check_results(report.cells)
    say_lines(write_results(report, folder))
    for path, export in ((csv_file, export_csv), (latex_file, export_latex)):
        if path is not None:
            write_text(path, export(report))


def _say(line: str) -> None:
    say(line, err=True)
