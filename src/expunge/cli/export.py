"""`expunge export`: an edited classifier in the formats that others load."""

from pathlib import Path

import click

from expunge.base.errors import SettingsError
from expunge.base.folders import output_folder
from expunge.cli import options
from expunge.cli.say import say
from expunge.models.export import FORMATS, Exported
from expunge.models.sources.load import make_network
from expunge.task.card import CARD_FILE
from expunge.task.saved import read_edit

EXPORT_FOLDER = "export"
EXAMPLE = """\b
Example:
  expunge export edited/ --format onnx --format hub
"""


@click.command(context_settings={"max_content_width": 110}, epilog=EXAMPLE)
@click.argument("edited", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(list(FORMATS)),
    help="May repeat; hub is a folder that timm's or transformers' loader takes.  [default: all]",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: export in EDITED]")
@click.option("--overwrite", is_flag=True, help="Replace files in that folder.")
@click.option("--model", metavar="SOURCE", help="package.module:function, where the edit doesn't name its network.")
@options.allow_code
@click.option("--push", metavar="REPO", help="Upload to that repository of the Hugging Face hub, too.")
@click.option("--pull-request", is_flag=True, help="Propose the files there, and leave the repository as it is.")
@click.option("--public", is_flag=True, help="Make a new repository one that everybody sees.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    edited: Path,
    formats: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    model: str | None,
    allow_code: bool,
    push: str | None,
    pull_request: bool,
    public: bool,
) -> None:
    """Write an edited classifier in other formats, each file checked for equal outputs, with a model card.

    EDITED is what `expunge run --out` or `Edit.save` wrote. The export holds neither the patch nor the table of the
    forgotten images.
    """
    if push is None and (pull_request or public):
        name = "--pull-request" if pull_request else "--public"
        raise SettingsError(name, "--push REPO beside it", "none")
    network = None if model is None else make_network(model)
    edit = read_edit(edited, network, allow_code=allow_code)
    folder = out or edited / EXPORT_FOLDER
    with output_folder(folder, overwrite=overwrite, result=CARD_FILE):
        for one in edit.export(folder, list(formats or FORMATS)):
            say(describe(one))
    say(str(folder / CARD_FILE))
    if push is not None:
        say(edit.push_to_hub(push, private=not public, create_pr=pull_request))


def describe(exported: Exported) -> str:
    """Return a line that says what was written and what its comparison gave."""
    difference = exported.largest_difference
    return f"{exported.path}{'' if difference is None else f', logits equal within {difference:.1e}'}"
