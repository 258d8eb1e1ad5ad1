"""A new project: the first classifier, a key, an empty ledger."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from safetensors.torch import save
from torch import Tensor

from expunge.base.disk import UNFINISHED, write_bytes, write_text
from expunge.base.errors import OutputError, SettingsError
from expunge.base.settings import to_mapping
from expunge.base.tensors import write_tensors
from expunge.methods import make_method
from expunge.methods.protocol import Method, Needs, goes_on
from expunge.methods.table import DEFAULT_METHOD
from expunge.models.sources import LoadedClassifier, ModelSource, load_classifier
from expunge.requests.approval import Approval
from expunge.requests.chain import make_entries
from expunge.requests.database import PASSWORD_VARIABLE, SCHEMA_VERSION, Database, has_password
from expunge.requests.head import HEAD_FILE, Head, Notes
from expunge.requests.keys import make_key, read_key
from expunge.requests.place import (
    CURRENT_FILE,
    DEFAULT_DATABASE,
    IMAGES_FOLDER,
    LOCK_FILE,
    OLD_KEY,
    RESERVE_BYTES,
    RESERVE_FILE,
    SETTINGS_FILE,
    SQLITE_FILE,
    VERSIONS_FOLDER,
    explained,
    locate_database,
    locked,
)
from expunge.requests.project import Ledger
from expunge.requests.sealed import FIRST, write_sealed
from expunge.task.task import Strength

KEY_SUFFIX = ".key"
WAIT_SECONDS = 10.0
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
MADE = (LOCK_FILE, OLD_KEY, VERSIONS_FOLDER, IMAGES_FOLDER, CURRENT_FILE, HEAD_FILE, RESERVE_FILE)
"""What a project consists of before its settings file is there."""
DEFAULT_BUDGET = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a project is to be.

    Args:
        model: the first classifier.
        resize: pixels of the shorter side of images, in place of the classifier's own.
        crop: pixels of the centre square, in place of the classifier's own.
        data: source of test images, such as npz:FILE, that drift is measured on; None for surrogates.
        method: default of the requests.
        settings: over the method's defaults.
        strength: exact pixels, or copies too; None for the method's own.
        budget: points of test accuracy lost from which on the tool says that it is time to retrain.
        database: a SQLAlchemy URL; relative SQLite files are in the project folder.
        keepers: whether something of each row is kept in place of its image, so that it can be held and checked.
        key: where the key file is to be; relative paths are from the project folder. One that is there is used. None
            for a file beside the folder, with its name.
        approval: who has to approve a request before it is applied.
    """

    model: ModelSource
    resize: int | None = None
    crop: int | None = None
    data: str | None = None
    method: str = DEFAULT_METHOD
    settings: Mapping[str, Any] = field(default_factory=dict)
    strength: Strength | None = None
    budget: float = DEFAULT_BUDGET
    database: str = DEFAULT_DATABASE
    key: str | None = None
    keepers: bool = False
    approval: Approval = Approval.NONE

    def __post_init__(self) -> None:
        if not self.budget > 0:
            raise SettingsError("budget", "above 0", str(self.budget))
        if has_password(self.database):
            hint = f"set {PASSWORD_VARIABLE}, or let the driver find it, as PostgreSQL's does in ~/.pgpass"
            raise SettingsError(
                "database", "a URL without a password, which would stand in a file", "one with it", hint
            )


def create_project(folder: str | Path, plan: Plan) -> Ledger:
    """Make the project in `folder` and return it; it is one once its settings file is there, which comes last.

    What an interrupted command left of it is removed first.

    Raises:
        OutputError: the folder is not empty or can't be made.
        LedgerError: there is a ledger in the database already, or the database can't be reached.
        ClassifierError, SettingsError: the classifier or the method is not as it should be.
    """
    folder = Path(folder)
    loaded = load_classifier(plan.model)
    method = make_method(plan.method, plan.settings)
    require_forget_only(method)
    if plan.keepers:
        require_goes_on(method)
    key = plan.key or f"../{folder.resolve().name}{KEY_SUFFIX}"
    with explained(folder):
        _require_free(folder, plan.database)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, wait_seconds=WAIT_SECONDS):
            _require_free(folder, plan.database)
            _remove_rest(folder)
            for name in (VERSIONS_FOLDER, IMAGES_FOLDER):
                (folder / name).mkdir()
            if not (folder / key).exists():
                make_key(folder / key)
            weights = loaded.classifier.network.state_dict()
            write_tensors(folder / CURRENT_FILE, weights, {"format": "pt", "weights_sha256": loaded.weights_sha256})
            first = write_sealed(folder, read_key(folder / key), FIRST, _plain(weights), FIRST)
            notes = _begin(folder, plan, key, {**_created(plan, loaded, to_mapping(method)), "first": asdict(first)})
            write_text(folder / SETTINGS_FILE, tomli_w.dumps({"database": plan.database, "key": key}))
            notes[0].write(notes[1])
    return Ledger.open(folder)


def _require_free(folder: Path, database: str) -> None:
    """Check that a folder is empty, or holds only what an interrupted command left.

    Raises:
        OutputError: it holds something else.
    """
    if not folder.exists():
        return
    found = {path.name for path in folder.iterdir()}
    made = {*MADE, *(Path(database.removeprefix(SQLITE_FILE)).name + suffix for suffix in DATABASE_SUFFIXES)}
    rest = {name for name in found if name in made or UNFINISHED.fullmatch(name)}
    if found and (LOCK_FILE not in found or found - rest):
        raise OutputError(str(folder), "an empty output folder", "one with files in it", "choose another")


def _remove_rest(folder: Path) -> None:
    """Remove what an interrupted command left; a key in the folder stays, and is used."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (LOCK_FILE, OLD_KEY):
            path.unlink()
    for path in folder.resolve().parent.glob(f".{folder.resolve().name}{KEY_SUFFIX}.*"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink()


def _plain(weights: Mapping[str, Tensor]) -> bytes:
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()})


def _begin(folder: Path, plan: Plan, key: str, created: Mapping[str, Any]) -> tuple[Notes, Head]:
    """Make the database, write its first entry, note it in the folder, and return what to note beside the key."""
    keys = read_key(folder / key)
    database = Database.connect(locate_database(folder, plan.database))
    database.create()
    (entry,) = make_entries(keys.chain, None, [("created", created)])
    database.append([entry])
    database.truncate_log()
    notes, head = Notes.of(folder, folder / key, keys, entry.hash), Head(1, 1, entry.hash)
    write_text(notes.inside, head.text(keys, entry.hash))
    write_bytes(folder / RESERVE_FILE, bytes(RESERVE_BYTES))
    return notes, head


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
            **{name: size for name, size in (("resize", plan.resize), ("crop", plan.crop)) if size is not None},
        },
        "bounds": [classifier.bounds.lower, classifier.bounds.upper],
        "data": plan.data,
        "how": {
            "method": plan.method,
            "settings": dict(settings),
            "strength": None if plan.strength is None else plan.strength.value,
        },
        "budget": plan.budget,
        **({"keepers": True} if plan.keepers else {}),
        "approval": plan.approval.value,
    }


def require_forget_only(method: Method) -> None:
    """Check that a method needs the images to forget alone: a project has no retain data.

    Raises:
        SettingsError: it needs more.
    """
    if method.needs is not Needs.FORGET_ONLY:
        rule, hint = "one without retain data, which a project doesn't have", "`expunge methods` says what each needs"
        raise SettingsError("method", rule, method.name, hint)


def require_goes_on(method: Method) -> None:
    """Check that a method changes nothing that keepers depend on.

    Raises:
        SettingsError: it does.
    """
    if not goes_on(method):
        raise SettingsError("method", "least-change in a project with keepers, which others would spoil", method.name)
