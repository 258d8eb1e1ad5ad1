"""How commands print: whatever stands in ids, names or files is shown, and never obeyed by the terminal."""

import click

from expunge.base.visible import visible


def say(line: str, *, err: bool = False) -> None:
    """Print one line; line breaks and escapes within it are written out."""
    click.echo(visible(line), err=err)


def say_lines(text: str) -> None:
    """Print several lines; see `say`."""
    for line in text.split("\n"):
        say(line)
