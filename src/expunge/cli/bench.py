"""`expunge bench`: a grid of edits, and the tables and plots made from it."""

from pathlib import Path

import click

from expunge.bench import make_cells, read_grid
from expunge.bench.kept import with_kept
from expunge.bench.lanes import Budget
from expunge.bench.page import Report, write_results
from expunge.bench.schedule import Means, run_missing
from expunge.bench.smoke import make_smoke
from expunge.cli import EXIT_CELLS_FAILED, EXIT_INTERRUPTED
from expunge.cli.display import Bars

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(context_settings={"max_content_width": 110})
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Folder of all cells.")
@click.option(
    "--results", type=FOLDER, default=Path("docs/results"), show_default=True, help="Folder of tables and plots."
)
@click.option("--jobs", type=int, default=1, show_default=True, help="Cells at a time; the cores are divided.")
@click.option("--memory-gigabytes", type=float, help="For all cells at a time.  [default: 80% of what is free]")
@click.option("--ray", "address", metavar="ADDRESS", help="Run the cells on a Ray cluster; local starts one here.")
@click.option("--table", "only_table", is_flag=True, help="Run nothing; make the tables from the cells that are done.")
@click.option("--again", is_flag=True, help="Run cells that have no folder, though the results folder keeps theirs.")
@click.option("--smoke", is_flag=True, help="The same grid in small, on handwritten digits, in seconds.")
def command(  # noqa: PLR0913 - one argument a flag
    *,
    config: Path,
    runs: Path,
    results: Path,
    jobs: int,
    memory_gigabytes: float | None,
    address: str | None,
    only_table: bool,
    again: bool,
    smoke: bool,
) -> int:
    """Run the cells of the grid CONFIG that have no result yet, then write its tables and plots.

    Every cell is a job in a folder of its own under --runs, so the command can be stopped, or killed, and given again.
    Cells whose results --results keeps, of this grid or another, count as done; --again measures them anew. CONFIG is
    described in docs/benchmarks.md. The exit code is 4 if a cell failed.
    """
    grid, name = read_grid(config), config.stem
    if smoke:
        name = f"{name}-smoke"
        grid, results = make_smoke(grid, runs / "smoke"), runs / name
    bare = make_cells(grid, name=name, runs=runs)
    cells = with_kept(bare, results, name)
    kept = sum(cell.is_only_kept for cell in cells)
    if kept and not (only_table or again):
        _say(f"{results} keeps the results of {kept} of {len(cells)} cells; --again measures them anew")
    failures: dict[str, str] = {}
    if not only_table:
        means = Means(Budget.of_machine(jobs, memory_gigabytes), Bars(), _say, address)
        try:
            failures = run_missing(bare if again else cells, means)
        except KeyboardInterrupt:
            _say("stopped; the same command goes on")
            return EXIT_INTERRUPTED
    for cell, reason in failures.items():
        _say(f"failed: {cell}: {reason}")
    if any(cell.result() is not None for cell in cells) or only_table:
        click.echo(write_results(Report(grid, config, cells), results))
    return EXIT_CELLS_FAILED if failures else 0


def _say(line: str) -> None:
    click.echo(line, err=True)
