"""`expunge methods`: the table of methods, or the settings of one."""

import click

from expunge.base.errors import SettingsError, suggest
from expunge.base.settings import describe_settings
from expunge.cli.tables import show_table
from expunge.methods import METHODS


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the methods; with NAME, that method's settings, defaults and source."""
    if name is None:
        _show_all()
    else:
        _show(name)


def _show_all() -> None:
    show_table(
        ("method", "aim", "needs", "goals", "what it does", "source"),
        [
            (name, method.aim.value, method.needs.value, ", ".join(method.goals), method.summary, method.source)
            for name, method in METHODS.items()
        ],
    )


def _show(name: str) -> None:
    if name not in METHODS:
        raise SettingsError("method", f"one of {', '.join(METHODS)}", name, suggest(name, METHODS))
    method = METHODS[name]
    show_table(
        ("--set", "default", "allowed", "tuned", "meaning"),
        [
            (item.name, str(item.default), item.allowed, _tuned(item.spread), item.meaning)
            for item in describe_settings(method)
        ],
        title=f"{name}: {method.summary}\naim: {method.aim.value}; needs: {method.needs.value}; {method.source}",
    )


def _tuned(spread: float | None) -> str:
    return "" if spread is None else f"x {1 / spread:.2g}..{spread:.3g}"
