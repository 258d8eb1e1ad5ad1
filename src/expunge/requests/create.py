"""A new project: the first classifier, a key, an empty ledger."""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from expunge.base.disk import prepare_output_folder, write_text
from expunge.base.errors import OutputError, SettingsError
from expunge.base.settings import to_mapping
from expunge.base.tensors import write_tensors
from expunge.methods.unlearn import DEFAULT_METHOD, make_method
from expunge.models.sources import LoadedClassifier, ModelSource, load_classifier
from expunge.requests.chain import make_entries
from expunge.requests.database import SCHEMA_VERSION, Database
from expunge.requests.keys import make_key, read_key
from expunge.requests.project import (
    CURRENT_FILE,
    DEFAULT_DATABASE,
    DEFAULT_KEY,
    FIRST_FILE,
    IMAGES_FOLDER,
    SETTINGS_FILE,
    VERSIONS_FOLDER,
    Ledger,
    locate_database,
)
from expunge.requests.state import replay
from expunge.task.task import Strength

DEFAULT_BUDGET = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a project is to be.

    Args:
        model: the first classifier.
        data: source of test images, such as npz:FILE, that drift is measured on; None for surrogates.
        method: default of the requests.
        settings: over the method's defaults.
        strength: exact pixels, or copies too; None for the method's own.
        budget: points of drift from which on the tool says that it is time to retrain.
        database: a SQLAlchemy URL; relative SQLite files are in the project folder.
        key: where the key file is to be; relative paths are in the project folder. One that is there is used.
    """

    model: ModelSource
    data: str | None = None
    method: str = DEFAULT_METHOD
    settings: Mapping[str, Any] = field(default_factory=dict)
    strength: Strength | None = None
    budget: float = DEFAULT_BUDGET
    database: str = DEFAULT_DATABASE
    key: str = DEFAULT_KEY

    def __post_init__(self) -> None:
        if not self.budget > 0:
            raise SettingsError("budget", "above 0", str(self.budget))


def create_project(folder: str | Path, plan: Plan) -> Ledger:
    """Make the project in `folder` and return it; the folder appears whole or not at all.

    Raises:
        OutputError: the folder is not empty or can't be made.
        LedgerError: there is a ledger in the database already, or the database can't be reached.
        ClassifierError, SettingsError: the classifier or the method is not as it should be.
    """
    folder = Path(folder)
    loaded = load_classifier(plan.model)
    method = make_method(plan.method, plan.settings)
    prepare_output_folder(folder, overwrite=False)
    unfinished = folder.parent / f".{folder.resolve().name}.{secrets.token_hex(4)}"
    prepare_output_folder(unfinished, overwrite=False)
    try:
        for name in (VERSIONS_FOLDER, IMAGES_FOLDER):
            prepare_output_folder(unfinished / name, overwrite=False)
        if not (unfinished / plan.key).exists():
            make_key(unfinished / plan.key)
        weights = loaded.classifier.network.state_dict()
        for name in (FIRST_FILE, CURRENT_FILE):
            write_tensors(unfinished / name, weights, {"format": "pt", "weights_sha256": loaded.weights_sha256})
        write_text(unfinished / SETTINGS_FILE, tomli_w.dumps({"database": plan.database, "key": plan.key}))
        _begin(unfinished, plan, _created(plan, loaded, to_mapping(method)))
        _take_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Ledger.open(folder)


def _begin(folder: Path, plan: Plan, created: Mapping[str, Any]) -> None:
    """Make the database and write its first entry."""
    keys = read_key(folder / plan.key)
    database = Database.connect(locate_database(folder, plan.database))
    database.create()
    entries = make_entries(keys.chain, None, [("created", created)])
    database.append(entries)
    database.truncate_log()
    Ledger(folder, database, keys, entries, replay(entries)).note_head()


def _take_place(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.replace(folder)
    except OSError as error:
        raise OutputError(str(folder), "an empty folder", f"{error.strerror}") from error


def _created(plan: Plan, loaded: LoadedClassifier, settings: Mapping[str, Any]) -> dict[str, Any]:
    classifier = loaded.classifier
    return {
        "schema_version": SCHEMA_VERSION,
        "weights_sha256": loaded.weights_sha256,
        "model": {
            "architecture": loaded.architecture,
            "num_classes": classifier.num_classes,
            "mean": list(classifier.normalisation.mean),
            "std": list(classifier.normalisation.std),
            "class_names": list(classifier.class_names),
        },
        "bounds": [classifier.bounds.lower, classifier.bounds.upper],
        "data": plan.data,
        "how": {
            "method": plan.method,
            "settings": dict(settings),
            "strength": None if plan.strength is None else plan.strength.value,
        },
        "budget": plan.budget,
    }
