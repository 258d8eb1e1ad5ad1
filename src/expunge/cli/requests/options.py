"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

project = click.option(
    "--project",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    envvar="EXPUNGE_PROJECT",
    help="The project folder.  [default: here, or EXPUNGE_PROJECT]",
)
wait = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds to wait for another expunge that works on the project.",
)
device = click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps.")
batch_size = click.option(
    "--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Images in one pass."
)
