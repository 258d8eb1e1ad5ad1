"""Options that several commands share; values stay text, since a job's settings check them.

An option's name with two underscores is the dotted name of the job's setting: `model__weights` is `model.weights`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from expunge.base.errors import SettingsError
from expunge.compute.exactness import Float32
from expunge.data import SOURCES as DATA_SOURCES
from expunge.jobs.job import GoalChoice
from expunge.models.sources import SOURCES as MODEL_SOURCES
from expunge.task.task import Effort, Strength
from expunge.task.transforms import TRANSFORMS

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
CLASSES = "Class names in order of the labels; or a file, one a line."
MODEL_KINDS = ", ".join(f"{kind}:NAME" for kind in MODEL_SOURCES)
DATA_KINDS = ", ".join(f"{kind}:PATH" for kind in DATA_SOURCES)


def together(*decorators: Decorator) -> Decorator:
    """Return one decorator that adds these options in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def classifier(
    *,
    weights: str = "Safetensors, or a checkpoint of plain tensors.",
    num_classes: str = "Where the weights don't say.",
    before: bool = False,
) -> Decorator:
    """Return the options that say which classifier; with `before` they are also called --before-model and so on."""
    model_names, weights_names = (
        (f"--{name}", *((f"--before-{name}",) if before else ())) for name in ("model", "weights")
    )
    kinds = f"{MODEL_KINDS} or package.module:function."
    return together(
        click.option(*model_names, "model__architecture", metavar="SOURCE", help=kinds),
        click.option(*weights_names, "model__weights", metavar="FILE", help=weights),
        click.option("--weights-key", "model__weights_key", metavar="KEY", help="Which of several states in the file."),
        click.option("--classes", "model__classes", metavar="NAME,NAME", help=CLASSES),
        click.option("--num-classes", "model__num_classes", metavar="N", help=num_classes),
        click.option("--mean", "model__mean", metavar="M[,M,M]", help="Normalisation mean, for pixels in 0..1."),
        click.option("--std", "model__std", metavar="S[,S,S]", help="Normalisation standard deviation."),
    )


def images(*, source: str = f"{DATA_KINDS}.", table: str | None = "path, label, optional id, new_label") -> Decorator:
    """Return the options that say which images; `table` names the columns of a folder's table, None for no table."""
    columns = f"Table of a folder or imagefolder: {table}."
    with_table = [] if table is None else [click.option("--table", "data__table", metavar="FILE", help=columns)]
    otherwise = "default: what the classifier says."
    return together(
        click.option("--data", "data__source", metavar="SOURCE", help=source),
        *with_table,
        click.option("--resize", "data__resize", metavar="PIXELS", help=f"Shorter side; {otherwise}"),
        click.option("--crop", "data__crop", metavar="PIXELS", help=f"Centre square; {otherwise}"),
    )


def measured(purpose: str = "measure", *, retain: int = 5000, test: int = 10_000) -> Decorator:
    """Return the options that say on how many other images is measured, and their defaults."""
    on_retain, on_test = f"Retain images to {purpose} on.", f"Test images to {purpose} on."
    return together(
        click.option("--retain-rows", "data__retain_rows", metavar="N", help=f"{on_retain}  [default: {retain}]"),
        click.option("--test-rows", "data__test_rows", metavar="N", help=f"{on_test}  [default: {test}]"),
    )


def forget(*, what: str = "images to forget", random: str = "K random images, drawn with the seed.") -> Decorator:
    """Return the options that say which images are the forget set.

    `--forget-rows` is what `--forget-indices` was called before; the setting warns of its old name.
    """
    numbers = "Indices in the training data: 3,17,40-45."
    return together(
        click.option("--forget", "forget__table", metavar="FILE", help=f"CSV of the {what}: id or path, new_label."),
        click.option("--forget-indices", "forget__indices", metavar="INDICES", help=numbers),
        click.option("--forget-rows", "forget__rows", hidden=True),
        click.option("--forget-random", "forget__random", metavar="K", help=random),
        click.option("--forget-class", "forget__class_name", metavar="NAME", help="All training images of a class."),
    )


def goal(help_: str) -> Decorator:
    """Return the option that says what the forget set is to do."""
    return click.option("--goal", type=click.Choice([choice.value for choice in GoalChoice]), help=help_)


def seed(default: str = "0") -> Decorator:
    """Return the option of the seed."""
    return click.option("--seed", metavar="N", help=f"Source of all randomness.  [default: {default}]")


def device(work: str = "Images in one pass.") -> Decorator:
    """Return the options that say where it is computed, and in which batches."""
    return together(
        click.option("--device", help="cpu, cuda, cuda:1, mps.  [default: auto]"),
        click.option("--batch-size", "batch_size", metavar="N", help=f"{work}  [default: 256]"),
        click.option(
            "--float32",
            type=click.Choice([each.value for each in Float32]),
            help="On a GPU: IEEE, or TensorFloat-32 in passes with gradients.  [default: tf32]",
        ),
        click.option("--deterministic", flag_value="true", help="The same seed gives the same bits on a GPU, too."),
    )


def settings(meaning: str) -> Decorator:
    """Return the option --set, which may repeat."""
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=meaning)


def read_pairs(pairs: Iterable[str], flag: str = "--set") -> dict[str, str]:
    """Return the value of each name, for pairs of the form NAME=VALUE.

    Args:
        pairs: as they were given, the last of a name wins.
        flag: the option that they were given with, for the message.

    Raises:
        SettingsError: a pair of another form.

    >>> read_pairs(["attack.radius=2", "rate=1=1"])
    {'attack.radius': '2', 'rate': '1=1'}
    """
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(flag, "NAME=VALUE", pair)
        values[name] = value
    return values


strength = click.option(
    "--strength",
    type=click.Choice([each.value for each in Strength]),
    help="Forget the exact pixels, or transformed copies too.  [default: the method's; exact with goal unseen]",
)
effort = click.option(
    "--effort",
    "settings__effort",
    type=click.Choice([each.value for each in Effort]),
    help="How long the method least-change may work; less work costs more.  [default: standard]",
)
transforms = click.option(
    "--transforms",
    metavar="NAME[,NAME]",
    help=f"What robust copies go through: {', '.join(TRANSFORMS)}, or package.module:function.  [default: all]",
)


allow_code = click.option(
    "--allow-code",
    "allow_code",
    is_flag=True,
    help="Run functions that a file names, such as package.module:function; only for files that you trust.",
)


def out(overwrite: str) -> Decorator:
    """Return the options of the folder for the result; `overwrite` says what replacing it means."""
    folder = click.Path(file_okay=False, path_type=Path)
    return together(
        click.option("--out", type=folder, required=True, help="Folder for the result."),
        click.option("--overwrite", is_flag=True, help=overwrite),
    )
