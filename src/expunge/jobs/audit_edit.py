"""The audit of an edit at hand, for notebooks and scripts: classifiers and images are those in memory."""

from pathlib import Path
from typing import Any

import torch

from expunge.audit.edit import Origin, compare_edit
from expunge.audit.record import AUDIT_FILE, Audit, Level
from expunge.audit.run import Known, run_audit
from expunge.base.errors import DataError, SettingsError
from expunge.base.folders import output_folder
from expunge.compute.runtime import Progress, Runtime
from expunge.data.images import Images
from expunge.data.objects import images_of, normalisation_of
from expunge.jobs.measure import readable
from expunge.methods.arguments import Where, reading_for
from expunge.models.modes import in_ordinary_modes
from expunge.report import write_report
from expunge.task.edit import Edit


@in_ordinary_modes
def audit_edit(  # noqa: PLR0913 - all but two are optional, and a caller reads them by name
    edit: Edit,
    folder: str | Path,
    *,
    retain: Any = None,  # noqa: ANN401 - what people have, see below
    test: Any = None,  # noqa: ANN401
    level: str | Level = Level.FULL,
    images: bool = True,
    overwrite: bool = False,
    runtime: Runtime | None = None,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    progress: bool | Progress | None = None,
) -> Audit:
    """Compare the classifiers before and after an edit, write audit and report to `folder`, and return the audit.

    An audit that is there is replaced. Of what is returned, `verdict` has the sentences and `figures` the figures by
    name; `report.html` in the folder shows it all.

    Args:
        edit: what `unlearn` returned.
        folder: where to; made if missing.
        retain: training images, in the forms that `unlearn` takes; those with the id of a forgotten one are left out.
        test: images that were never trained on, in the same forms.
        level: "quick", or "full": all that the images allow.
        images: whether the forgotten images become part of the folder.
        overwrite: write to a folder that holds other files.
        runtime: device, batch size and progress in one; default: where the classifier is.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        batch_size: images in one pass.
        progress: whether to show how far it has come, or an object that does; default: in notebooks.

    Raises:
        SettingsError: an unknown level or device.
        DataError: what was given holds no images of the forget set's size, or labels of other classes.
        OutputError: the folder holds other files, or a file can't be written.
    """
    if level not in (Level.QUICK, Level.FULL):
        raise SettingsError("level", f"{Level.QUICK} or {Level.FULL}", repr(level))
    folder, classifier = Path(folder), edit.task.classifier
    place = Where(runtime, device, batch_size, progress).runtime_for(classifier)
    found = {name: _read(name, given, edit, place) for name, given in (("retain", retain), ("test", test))}
    names = classifier.class_names or tuple(map(str, range(classifier.num_classes)))
    notes = tuple(note for _, said in found.values() for note in said)
    origin = Origin(type(classifier.network).__name__, "images given in Python", names, notes)
    parts = {name: each for name, (each, _) in found.items() if each is not None}
    comparison = compare_edit(edit, parts, origin, Known(cost=edit.cost, expected=edit.expected))
    with output_folder(folder, overwrite=overwrite or (folder / AUDIT_FILE).exists(), result=AUDIT_FILE):
        audit = run_audit(comparison, folder, level=Level(level), pictures=images, runtime=place)
        write_report(folder)
    return audit


def _read(name: str, given: Any, edit: Edit, runtime: Runtime) -> tuple[Images | None, tuple[str, ...]]:  # noqa: ANN401
    """Return the images, without those of the forget set and those that can't be read, and notes on the latter."""
    if given is None:
        return None, ()
    task, gone = edit.task, set(edit.task.forget_set.ids) if name == "retain" else set()
    every = images_of(given, reading=reading_for(task.classifier, normalisation_of(given)))
    kept = [row for row, each in enumerate(every.ids) if each not in gone]
    images, notes = readable(name, images_of(every, lambda count: kept), task.forget_set.x, runtime.batch_size)
    if not len(images.labels):
        raise DataError(name, "images of the forget set's size", "none", "; ".join(notes))
    most = task.classifier.num_classes - 1
    if int(images.labels.min()) < 0 or int(images.labels.max()) > most:
        found = f"{int(images.labels.min())}..{int(images.labels.max())}"
        raise DataError(name, f"labels in 0..{most}", found, "check the class list")
    return images, notes
