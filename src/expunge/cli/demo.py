"""`expunge demo`: the main job on handwritten digits, in under a minute."""

from pathlib import Path

import click

from expunge.cli.display import exit_code, show_result
from expunge.cli.flags import NameChoice
from expunge.compute.bars import Bars
from expunge.jobs.demo import run_demo, write_digit_files
from expunge.methods import METHODS
from expunge.methods.unlearn import DEFAULT_METHOD


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("expunge-demo"),
    show_default=True,
    help="Folder for the result; an earlier one there is replaced.",
)
@click.option("--method", type=NameChoice(list(METHODS)), default=DEFAULT_METHOD, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Source of all randomness.")
@click.option(
    "--inputs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Only write the classifier (weights.safetensors) and the images (images.npz) there, for other commands.",
)
def command(out: Path, method: str, seed: int, inputs: Path | None) -> int:
    """Train a small net on 1,797 handwritten digits, then make it forget 16 of its training images."""
    click.echo("training a small convolutional net on scikit-learn's handwritten digits ...", err=True)
    if inputs is not None:
        write_digit_files(inputs, seed=seed, progress=Bars())
        click.echo(f"wrote {inputs / 'weights.safetensors'} and {inputs / 'images.npz'}")
        return 0
    edit, result = run_demo(out, method=method, seed=seed, progress=Bars())
    show_result(edit, result, str(out))
    return exit_code(edit, result)
