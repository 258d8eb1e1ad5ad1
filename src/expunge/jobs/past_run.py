"""The result of an earlier run, checked against what is audited."""

import json
from pathlib import Path
from typing import Any

from expunge.base.disk import sha256_file
from expunge.base.errors import DataError
from expunge.jobs.inputs import JobInputs
from expunge.models.description import WEIGHTS_FILE
from expunge.task.saved import RESULT_FILE


def read_run_result(folder: Path, inputs: JobInputs) -> dict[str, Any]:
    """Return the result of a run, after checking that classifier and rows are those that it was given.

    Args:
        folder: of the run.
        inputs: what is audited.

    Raises:
        DataError: there is no such result, or classifier, rows or edited weights are others.
    """
    path = folder / RESULT_FILE
    try:
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(str(path), "the result of an expunge run", f"{error}", "is the run complete?") from error
    found = {"weights_sha256": inputs.loaded.weights_sha256, "forget_sha256": inputs.forget_set.sha256()}
    told = result.get("inputs") if isinstance(result, dict) else None
    if not isinstance(told, dict) or not isinstance(result.get("retain_used"), bool):
        raise DataError(str(path), "the result of an expunge run", "something else", "is the run complete?")
    written = sha256_file(folder / WEIGHTS_FILE)
    if result.get("files", {}).get(WEIGHTS_FILE, written) != written:
        raise DataError(
            str(folder / WEIGHTS_FILE),
            f"the weights that {RESULT_FILE} names",
            "others",
            "run it again with --overwrite",
        )
    for name, value in found.items():
        if told.get(name) != value:
            what = "the weights" if name == "weights_sha256" else "the rows to forget"
            raise DataError(str(path), f"{what} that the run was given", "others", "run it from the same folder")
    return result
