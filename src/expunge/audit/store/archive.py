"""What was measured, in files: any figure can be computed again, or a new one, without classifiers and images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from expunge.audit.collect.collected import (
    Deep,
    Embedding,
    FeaturePart,
    Gathered,
    Noised,
    Perturbed,
    Retrained,
    Shadows,
)
from expunge.audit.collect.features import LayerSimilarity
from expunge.audit.collect.given_away import GivenAway
from expunge.audit.collect.relearning import Relearning
from expunge.audit.metrics.predicted import Part
from expunge.audit.metrics.weights import Shift
from expunge.audit.record import SLICES_FILE, Slice, read_slices
from expunge.audit.store.files import FEATURES_FILE, GATHERED_FILE, POOLS_FILE, PREDICTIONS_FILE
from expunge.base.arrays import arrays_to_bytes, read_arrays
from expunge.base.disk import write_bytes, write_json
from expunge.base.errors import DataError
from expunge.compute.context import Cost
from expunge.task.evaluation import RobustGoal
from expunge.task.expected import ExpectedCost
from expunge.task.words import CLASS_PART

PARTS = ("forget", "retain", "test", CLASS_PART)
SHADOW_ARRAYS = ("seen", "forget", "test_rows", "test", "unlearned_forget", "unlearned_test")
GIVEN_AWAY = ("forget", "others", "pictures", "other_pictures")
EMBEDDED = ("rows", "before", "after")
Arrays = Mapping[str, np.ndarray]


def write_gathered(folder: Path, data: Gathered) -> None:
    """Write arrays as npz files and all else as gathered.json; see docs/audit.md.

    Raises:
        OutputError: a file can't be written.
    """
    deep = data.deep or Deep()
    files = {
        PREDICTIONS_FILE: _pack_parts(data.parts),
        FEATURES_FILE: _pack_features(deep),
        SLICES_FILE: _pack_slices(deep.slices),
        POOLS_FILE: _pack_pools(data),
    }
    for name, arrays in files.items():
        if arrays:
            write_bytes(folder / name, arrays_to_bytes(arrays))
    write_json(folder / GATHERED_FILE, _to_json(data))


def read_gathered(folder: Path) -> Gathered:
    """Return what `write_gathered` wrote.

    Raises:
        DataError: a file is missing or damaged.
    """
    with _blaming(folder / GATHERED_FILE):
        content: dict[str, Any] = json.loads((folder / GATHERED_FILE).read_text("utf-8"))
        known = _from_json(content)
        in_deep, how = content["deep"], content["pools"]
    with _blaming(folder / PREDICTIONS_FILE):
        parts = _unpack_parts(read_arrays(folder / PREDICTIONS_FILE))
    with _blaming(folder / FEATURES_FILE):
        deep = None if in_deep is None else _unpack_deep(folder, in_deep)
    with _blaming(folder / POOLS_FILE):
        shadows, retrained = _unpack_pools(folder, how)
    return Gathered(**known, parts=parts, deep=deep, shadows=shadows, retrained=retrained)


def _from_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `Gathered` that need no array."""
    shifts, cost = content["shifts"], content["cost"]
    return {
        "goal": content["goal"],
        "goal_labels": np.array(content["goal_labels"]),
        "seed": content["seed"],
        "pictures": content["pictures"],
        "copies": _to_goal(content["copies"]),
        "copies_before": None if content.get("copies_before") is None else _to_goal(content["copies_before"]),
        "shifts": None if shifts is None else tuple(Shift(**each) for each in shifts),
        "cost": None if cost is None else Cost(**cost),
        "forgotten_class": content.get("forgotten_class", ""),
        "whole": tuple(content.get("whole", ("forget",))),
        "used": tuple(content.get("used", ())),
        "allowed": None if content.get("allowed") is None else np.array(content["allowed"], np.float32),
        "expected": None if content.get("expected") is None else ExpectedCost.from_json(content["expected"]),
    }


def _to_goal(content: Mapping[str, Any]) -> RobustGoal:
    return RobustGoal(**{**content, "by_row": tuple(content["by_row"])})


def _to_json(data: Gathered) -> dict[str, Any]:
    """Return everything that is no large array."""
    deep, shadows, retrained = data.deep, data.shadows, data.retrained
    return {
        "goal": data.goal,
        "goal_labels": data.goal_labels.tolist(),
        "seed": data.seed,
        "pictures": data.pictures,
        "copies": asdict(data.copies),
        "copies_before": None if data.copies_before is None else asdict(data.copies_before),
        "shifts": None if data.shifts is None else [asdict(each) for each in data.shifts],
        "cost": None if data.cost is None else asdict(data.cost),
        "forgotten_class": data.forgotten_class,
        "whole": list(data.whole),
        "used": list(data.used),
        "allowed": None if data.allowed is None else data.allowed.tolist(),
        "expected": None if data.expected is None else data.expected.to_json(),
        "deep": None
        if deep is None
        else {
            "layers": [asdict(each) for each in deep.layers],
            "relearning": [asdict(each) for each in deep.relearning],
            "reasons": dict(deep.reasons),
        },
        "pools": {
            "shadow": None if shadows is None else shadows.how,
            "retrained": None if retrained is None else retrained.how,
        },
    }


def _pack_parts(parts: Mapping[str, Part]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        arrays |= {f"{name}.ids": np.array(part.ids), f"{name}.labels": part.labels}
        arrays |= {f"{name}.before": part.before, f"{name}.after": part.after}
    return arrays


def _unpack_parts(arrays: Arrays) -> dict[str, Part]:
    return {
        name: Part(
            name,
            tuple(map(str, arrays[f"{name}.ids"])),
            arrays[f"{name}.labels"],
            arrays[f"{name}.before"],
            arrays[f"{name}.after"],
        )
        for name in PARTS
        if f"{name}.ids" in arrays
    }


def _pack_features(deep: Deep) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, part in deep.features.items():
        arrays |= {f"{name}.rows": part.rows, f"{name}.before": part.before, f"{name}.after": part.after}
        if part.retrained is not None:
            arrays[f"{name}.retrained"] = part.retrained
    for name, found in deep.embeddings.items():
        arrays |= {f"{name}.tsne_{kind}": getattr(found, kind) for kind in EMBEDDED}
    if deep.noised is not None:
        arrays |= {"noised.before": deep.noised.before, "noised.after": deep.noised.after}
    if deep.perturbed is not None:
        arrays |= {f"perturbed.{name}": getattr(deep.perturbed, name) for name in ("rows", "before", "after")}
        arrays |= {f"perturbed.retrained{number}": each for number, each in enumerate(deep.perturbed.retrained, 1)}
    if deep.untrained is not None:
        arrays["untrained.logits"] = deep.untrained
    if deep.given_away is not None:
        asked = {name: getattr(deep.given_away, name) for name in GIVEN_AWAY}
        arrays["given_away.layers"] = np.array(deep.given_away.layers)
        arrays |= {f"given_away.{name}": array for name, array in asked.items() if array is not None}
    return arrays


def _unpack_deep(folder: Path, content: Mapping[str, Any]) -> Deep:
    path = folder / FEATURES_FILE
    arrays = read_arrays(path) if path.exists() else {}
    features = {
        name: FeaturePart(
            arrays[f"{name}.rows"],
            arrays[f"{name}.before"],
            arrays[f"{name}.after"],
            arrays.get(f"{name}.retrained"),
        )
        for name in PARTS
        if f"{name}.rows" in arrays
    }
    embeddings = {
        name: Embedding(*(arrays[f"{name}.tsne_{kind}"] for kind in EMBEDDED))
        for name in PARTS
        if f"{name}.tsne_rows" in arrays
    }
    with _blaming(folder / SLICES_FILE):
        slices = read_slices(folder)
    return Deep(
        features=features,
        noised=Noised(arrays["noised.before"], arrays["noised.after"]) if "noised.before" in arrays else None,
        perturbed=_unpack_perturbed(arrays),
        layers=tuple(LayerSimilarity(**each) for each in content["layers"]),
        relearning=tuple(
            Relearning(each["classifier"], tuple(each["steps"]), tuple(each["accuracy"]))
            for each in content["relearning"]
        ),
        embeddings=embeddings,
        slices=slices,
        given_away=_unpack_given_away(arrays),
        untrained=arrays.get("untrained.logits"),
        reasons=content["reasons"],
    )


def _unpack_given_away(arrays: Arrays) -> GivenAway | None:
    if "given_away.layers" not in arrays:
        return None
    layers = tuple(map(str, arrays["given_away.layers"]))
    return GivenAway(layers, *(arrays.get(f"given_away.{name}") for name in GIVEN_AWAY))  # type: ignore[arg-type]


def _unpack_perturbed(arrays: Arrays) -> Perturbed | None:
    if "perturbed.rows" not in arrays:
        return None
    count = sum(name.startswith("perturbed.retrained") for name in arrays)
    retrained = tuple(arrays[f"perturbed.retrained{number}"] for number in range(1, count + 1))
    return Perturbed(arrays["perturbed.rows"], arrays["perturbed.before"], arrays["perturbed.after"], retrained)


def _pack_slices(slices: Sequence[Slice]) -> dict[str, np.ndarray]:
    if not slices:
        return {}
    return {
        "row": np.array([each.row for each in slices]),
        "names": np.array([each.names for each in slices]),
        "points": np.stack([each.points for each in slices]),
        "extent": np.array([each.extent for each in slices]),
        "before": np.stack([each.before for each in slices]).astype(np.int32),
        "after": np.stack([each.after for each in slices]).astype(np.int32),
    }


def _pack_pools(data: Gathered) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    if data.shadows is not None:
        found = {name: getattr(data.shadows, name) for name in SHADOW_ARRAYS}
        arrays |= {f"shadow.{name}": array for name, array in found.items() if array is not None}
    for number, logits in enumerate(() if data.retrained is None else data.retrained.logits, 1):
        arrays |= {f"retrained{number}.{name}": array for name, array in logits.items()}
    return arrays


def _unpack_pools(folder: Path, how: Mapping[str, str | None]) -> tuple[Shadows | None, Retrained | None]:
    arrays = read_arrays(folder / POOLS_FILE) if any(how.values()) else {}
    shadows, retrained = None, None
    if how["shadow"] is not None:
        shadows = Shadows(
            arrays["shadow.seen"],
            arrays["shadow.forget"],
            arrays["shadow.test_rows"],
            arrays["shadow.test"],
            arrays.get("shadow.unlearned_forget"),
            arrays.get("shadow.unlearned_test"),
            how["shadow"],
        )
    if how["retrained"] is not None:
        count = len({name.split(".")[0] for name in arrays if name.startswith("retrained")})
        logits = [
            {name: arrays[f"retrained{number}.{name}"] for name in PARTS if f"retrained{number}.{name}" in arrays}
            for number in range(1, count + 1)
        ]
        retrained = Retrained(tuple(logits), how["retrained"])
    return shadows, retrained


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ArithmeticError, AttributeError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataError(str(path), "what an audit gathered", f"{error!r}", "make the audit anew") from error
