"""`expunge requests add`."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
import torch

from expunge.base.errors import DataError
from expunge.base.settings import nest
from expunge.base.words import plural
from expunge.cli import options
from expunge.cli.requests import by_option, project_option, wait_option
from expunge.cli.say import say
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.data import forget_set, load_data, rows_from_numbers, rows_from_table
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.data.labels import label_from_text
from expunge.data.sources.file_images import FileImages
from expunge.methods import METHODS
from expunge.models.sources import LoadedClassifier
from expunge.requests.approval import is_approved
from expunge.requests.contradictions import require_labels_of_copies, say_label
from expunge.requests.copies import Near, find_near, open_index
from expunge.requests.desk.people import check_name
from expunge.requests.duplicates import Duplicate, find_duplicates
from expunge.requests.project import Ledger
from expunge.requests.receive import RequestOptions, number_names, receive, supply
from expunge.requests.recovery import writing
from expunge.requests.sheet import write_sheet
from expunge.requests.weights import load_first
from expunge.task.task import Strength
from expunge.task.words import MISCLASSIFY, RELABEL

SHOWN = 20
EXAMPLE = """\b
Examples:
  expunge requests add portrait.jpg --label 3 --reference "letter 17"
  expunge requests add --data npz:images.npz --rows 3,17,40-45 --against npz:images.npz
"""


@click.command(context_settings={"max_content_width": 110}, epilog=EXAMPLE)
@click.argument("images", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--label", help="Label of the image files given by name; images of --data have their own.")
@click.option("--data", metavar="SOURCE", help="KIND:PLACE, as in `expunge run`.")
@click.option(
    "--table", type=click.Path(path_type=Path), help="Table of a folder: path, label, optional id, new_label."
)
@click.option("--forget", type=click.Path(path_type=Path), help="CSV of the images: id or path, optional new_label.")
@click.option("--rows", help="Indices in the data: 3,17,40-45.")
@click.option("--ids", help="Ids of the data, parted by commas.")
@click.option("--all", "every", is_flag=True, help="All images of the data.")
@click.option(
    "--keep-names", is_flag=True, help="Let ids be the names of image files, for as long as the ledger lasts."
)
@click.option("--reference", default="", help="Who asked, or which letter; better no name.")
@click.option(
    "--goal", type=click.Choice([MISCLASSIFY, RELABEL]), help="What the images are to do.  [default: by new_label]"
)
@click.option("--method", type=click.Choice(list(METHODS)), help="[default: the project's]")
@click.option("--strength", type=click.Choice([strength.value for strength in Strength]), help="Exact, or copies too.")
@options.settings("A setting of the method; may repeat.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--minimum-right", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Now right.")
@click.option("--keep-until", type=click.DateTime(["%Y-%m-%d"]), help="Keep the images, encrypted, until that day.")
@click.option("--against", metavar="SOURCE", help="The training data, to look for other copies in.")
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Draw the nearest there to this PNG.")
@click.option(
    "--include", metavar="ROWS", help="Add these rows of the training data, after a look at them: 3,17,40-45."
)
@click.option("--include-duplicates", is_flag=True, help="Add those found there that are certain copies.")
@click.option("--due", type=click.DateTime(["%Y-%m-%d"]), help="The day by which it is to be done.")
@click.option("--again", metavar="REQUEST", help="Give that request its images once more.")
@by_option
@project_option
@wait_option
def command(images: tuple[Path, ...], project: Path, wait: float, **flags: Any) -> None:  # noqa: ANN401
    """Add a request for IMAGES, or for images of --data; the classifier stays as it is until `apply`.

    Other copies of the pictures are looked for in the request, in earlier requests and in --against, and shown: a copy
    that stays in is the usual reason why a deletion fails. In --against, those that were mirrored, shifted or resized
    are found as well; so are pictures that merely look alike. None is added without --include or --include-duplicates.

    Nothing in the ledger is ever changed, so names of image files, which may name people, are not kept: the images of
    a request are numbered in order, unless --keep-names is given.

    Without --keep-until the images are deleted once the request is verified. Then nobody can check later whether an
    image has come back, nor repair it; and withdrawing an earlier request needs these images again (--again).
    """
    with writing(project, wait_seconds=wait) as ledger:
        ledger.signature = {} if flags["by"] is None else {"actor": check_name(flags["by"])}
        first = load_first(ledger)
        rows = _read_rows(first, images, flags)
        if flags["again"] is not None:
            request = supply(ledger, flags["again"], rows)
            say(f"{request.name}: has its {len(rows)} images again")
            return
        rows = _with_duplicates(ledger, first, rows, flags)
        if not flags["keep_names"]:
            rows = number_names(rows)
        request = receive(ledger, rows, _read_options(flags))
        next_step = "`expunge requests apply`"
        if not is_approved(ledger.state, request):
            next_step = "somebody has to approve it at the desk: expunge requests serve"
        say(f"{request.name}: {plural(len(rows), 'instance')}, {request.goal}, {request.state}; {next_step}")


def _read_options(flags: dict[str, Any]) -> RequestOptions:
    return RequestOptions(
        reference=flags["reference"],
        goal=flags["goal"],
        method=flags["method"],
        settings=nest(options.read_pairs(flags["settings"])),
        strength=None if flags["strength"] is None else Strength(flags["strength"]),
        seed=flags["seed"],
        minimum_right=flags["minimum_right"],
        keep_until=_day(flags["keep_until"]),
        due=_day(flags["due"]),
    )


def _day(given: datetime | None) -> date | None:
    return None if given is None else given.date()


def _read_rows(first: LoadedClassifier, paths: Sequence[Path], flags: dict[str, Any]) -> ForgetSet:
    """Return the rows that the command line names.

    Raises:
        DataError: image files and --data both or neither, --label with --data, or not one way of choosing rows.
    """
    if bool(paths) == (flags["data"] is not None):
        raise DataError("images", "image files, or --data", "both" if paths else "neither")
    if paths:
        if flags["label"] is None:
            raise DataError("--label", "the label of the image files", "none")
        label = label_from_text(flags["label"], first.classifier.class_names, place="--label")
        ids = [path.name if flags["keep_names"] else str(number) for number, path in enumerate(paths, 1)]
        files = FileImages(ids, torch.full((len(paths),), label), paths, first.preprocessing)
        return forget_set(files, range(len(paths)))
    if flags["label"] is not None:
        hint = "leave it out; new labels stand in a table: --forget"
        raise DataError("--label", "none with --data, whose images have labels", flags["label"], hint)
    train = _load(first, flags["data"], flags["table"])
    chosen = [name for name in ("forget", "rows", "ids", "every") if flags[name]]
    if len(chosen) != 1:
        raise DataError("rows", "one of --forget, --rows, --ids and --all", ", ".join(chosen) or "none of them")
    rows, new_labels = _choose(first, train, flags)
    return forget_set(train, rows, new_labels=new_labels)


def _choose(first: LoadedClassifier, train: Images, flags: dict[str, Any]) -> tuple[list[int], list[int] | None]:
    if flags["forget"] is not None:
        names, count = first.classifier.class_names, first.classifier.num_classes
        return rows_from_table(flags["forget"], train, class_names=names, num_classes=count)
    if flags["rows"] is not None:
        return rows_from_numbers(flags["rows"], train), None
    if flags["ids"] is not None:
        row_of = {name: row for row, name in enumerate(train.ids)}
        wanted = [name.strip() for name in flags["ids"].split(",")]
        unknown = [name for name in wanted if name not in row_of]
        if unknown:
            raise DataError("--ids", f"ids of the data, such as {train.ids[0]}", ", ".join(unknown[:5]))
        return [row_of[name] for name in wanted], None
    return list(range(len(train.ids))), None


def _load(first: LoadedClassifier, source: str, table: Path | None) -> Images:
    return load_data(source, first.request(table=table)).train


def _with_duplicates(ledger: Ledger, first: LoadedClassifier, rows: ForgetSet, flags: dict[str, Any]) -> ForgetSet:
    """Show what looks alike, and return the rows, with the copies of the training data that are wanted."""
    _tell([_describe(ledger, match) for match in find_duplicates(ledger, rows)])
    if flags["against"] is None:
        return rows
    training = _load(first, flags["against"], None)
    runtime = Runtime.on("cpu", progress=Bars())
    found = find_near(open_index(ledger, training, runtime), ledger, rows, first.classifier, runtime)
    own = set(rows.ids) if flags["data"] is not None else set()  # pictures given by name have numbers of their own
    found = [[one for one in near if one.id not in own] for near in found]
    if flags["sheet"] is not None:
        write_sheet(flags["sheet"], rows, training, found)
        say(f"note: {flags['sheet']} shows the nearest pictures")
    _tell(
        [
            _describe_near(ledger, name, label, one)
            for name, label, near in zip(rows.ids, rows.y.tolist(), found, strict=True)
            for one in near
            if one.alike
        ]
    )
    return _including(ledger, rows, training, found, flags)


def _including(
    ledger: Ledger, rows: ForgetSet, training: Images, found: list[list[Near]], flags: dict[str, Any]
) -> ForgetSet:
    """Return the rows with the training images that were said yes to.

    Raises:
        DataError: the rows have new labels, which copies lack.
        ForgetSetError: a copy has another label than its picture.
    """
    wanted = set(rows_from_numbers(flags["include"], training)) if flags["include"] else set()
    if flags["include_duplicates"]:
        wanted |= {one.row for near in found for one in near if one.certain}
    alike = sorted({one.row for near in found for one in near if one.alike} - wanted)
    if alike:
        say(f"note: to forget others too, after a look at them: --include {','.join(map(str, alike[:SHOWN]))}")
    every = training.ids  # once: some images make the list anew
    chosen = [row for row in sorted(wanted) if flags["data"] is None or every[row] not in rows.ids]
    require_labels_of_copies(ledger, rows, found, chosen)
    if not chosen:
        return rows
    if rows.y_new is not None:
        raise DataError("--include", "no new labels", "some", "add the copies to the table")
    copies = forget_set(training, chosen)
    ids = tuple(f"training {name}" if name in rows.ids else name for name in copies.ids)
    return ForgetSet.join([rows, ForgetSet(ids, copies.x, copies.y)])


def _tell(notes: list[str]) -> None:
    for note in notes[:SHOWN]:
        say(f"note: {note}")
    if len(notes) > SHOWN:
        say(f"note: and {len(notes) - SHOWN} more")


def _describe(ledger: Ledger, match: Duplicate) -> str:
    like = "is the same picture as" if match.bits is None else f"looks like ({match.bits} of 128 bits differ)"
    return f"{match.id} {like} {match.other} of {match.place}{_say_labels(ledger, *match.labels)}"


def _describe_near(ledger: Ledger, name: str, label: int, one: Near) -> str:
    features = "" if one.features is None else f", features {one.features:.2f}"
    figures = f"{one.bits} of 128 bits differ, correlation {one.correlation:.2f}{features}"
    like = "is the same picture as" if one.same else f"looks like ({figures})"
    return f"{name} {like} {one.id} of training data{_say_labels(ledger, label, one.label)}"


def _say_labels(ledger: Ledger, mine: int, its: int) -> str:
    return "" if mine == its else f", which has label {say_label(ledger, its)} there, not {say_label(ledger, mine)}"
