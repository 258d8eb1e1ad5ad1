"""`expunge methods`: the table of methods, or the settings of one."""

import click
from rich.console import Console
from rich.table import Table

from expunge.base.errors import SettingsError
from expunge.base.settings import describe_settings
from expunge.methods import METHODS


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the methods; with NAME, that method's settings, defaults and source."""
    console = Console()
    console.print(_describe_all() if name is None else _describe(name))


def _describe_all() -> Table:
    table = Table()
    table.add_column("method", no_wrap=True)  # names are copied
    for column in ("aim", "needs", "goals", "what it does", "source"):
        table.add_column(column, overflow="fold")
    for name, method in METHODS.items():
        table.add_row(
            name, method.aim.value, method.needs.value, ", ".join(method.goals), method.summary, method.source
        )
    return table


def _tuned(spread: float | None) -> str:
    return "" if spread is None else f"x {1 / spread:.2g}..{spread:.3g}"


def _describe(name: str) -> Table:
    if name not in METHODS:
        raise SettingsError("method", f"one of {', '.join(METHODS)}", name)
    method = METHODS[name]
    table = Table(
        title=f"{name}: {method.summary}\naim: {method.aim.value}; needs: {method.needs.value}; {method.source}",
        title_justify="left",
    )
    table.add_column("--set", no_wrap=True)  # names are copied
    for column in ("default", "range", "tuned", "meaning"):
        table.add_column(column, overflow="fold")
    for item in describe_settings(method):
        table.add_row(item.name, str(item.default), str(item.range), _tuned(item.spread), item.meaning)
    return table
