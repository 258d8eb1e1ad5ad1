"""Names of tensors in a file and in a network: what wrappers and trainers put before them, and beside them."""

import re
import warnings
from collections import Counter
from collections.abc import Collection, Mapping

from torch import Tensor

from expunge.base.errors import ExpungeWarning

BATCH_COUNTER = "num_batches_tracked"
WRAPPED = ("_orig_mod", "module")
"""What torch.compile and DataParallel put into names, wherever a part of a network is wrapped."""
AVERAGED = re.compile(r"ema|swa|teacher|momentum|averag|target", re.IGNORECASE)
BESIDE = re.compile(
    r"((.*_)?(loss|criterion|metrics?|acc|accuracy|confmat|auroc|f1)(_.*)?|(train|val|valid|test)_.*)\..*"
    r"|n_averaged|(.*\.)?total_(ops|params)",
    re.IGNORECASE,
)
"""Losses, metrics and counters, which trainers save beside a network."""
SHOWN = 3


def align(weights: Mapping[str, Tensor], own: Collection[str], *, place: str) -> dict[str, Tensor]:
    """Return the tensors under the names that the network gives them, as far as they can be found.

    What all the network's names have before them in the file (`model.`, `module.`, ...) is taken off, unless the
    network has it, too. What lies beside the network is left out: entries without that
    beginning, losses, metrics and counters.

    Args:
        weights: tensors by their names in the file.
        own: the network's names.
        place: where they come from, for the notes.

    Warns:
        ExpungeWarning: something is left out, or there are several networks of these names: the first is taken.
    """
    weights = _unwrapped(weights, own)
    essential = {name for name in own if not name.endswith(BATCH_COUNTER)}
    matches = _count_matches(weights, essential)
    whole = sorted((prefix for prefix, count in matches.items() if count == len(essential)), key=_preference)
    best = whole[0] if whole else max(matches, key=lambda prefix: (matches[prefix], -len(prefix)), default="")
    if not whole and 2 * matches[best] < len(essential):
        return dict(weights)
    if len(whole) > 1:
        names = ", ".join(prefix.rstrip(".") or "names without a beginning" for prefix in whole)
        chosen = f"--weights-key {whole[1].rstrip('.')} takes another" if whole[1] else ""
        _warn(f"{place} holds several networks of these names: {names}; the first was taken, {chosen}")
    inside = {name.removeprefix(best): tensor for name, tensor in weights.items() if name.startswith(best)}
    kept = {name: tensor for name, tensor in inside.items() if name in own or not _beside(name, whole)}
    left = [name for name in weights if name.removeprefix(best) not in kept or not name.startswith(best)]
    if left:
        some = ", ".join(left[:SHOWN]) + (", ..." if len(left) > SHOWN else "")
        _warn(f"{place}: {len(left)} entries are no part of the network and were left out: {some}")
    return kept


def _unwrapped(weights: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors without the names of wrappers that the network doesn't have."""
    found = {part for name in own for part in name.split(".")}
    gone = [part for part in WRAPPED if part not in found]
    return {".".join(part for part in name.split(".") if part not in gone): each for name, each in weights.items()}


def _count_matches(weights: Mapping[str, Tensor], essential: Collection[str]) -> Counter[str]:
    """Return by prefix how many of the network's names stand behind it in the file."""
    matches: Counter[str] = Counter()
    for name in weights:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in essential:
                matches["".join(f"{part}." for part in parts[:start])] += 1
    return matches


def _preference(prefix: str) -> tuple[bool, int]:
    return bool(AVERAGED.search(prefix)), len(prefix)


def _beside(name: str, whole: Collection[str]) -> bool:
    return bool(BESIDE.fullmatch(name)) or any(prefix and name.startswith(prefix) for prefix in whole)


def _warn(message: str) -> None:
    warnings.warn(message, ExpungeWarning, stacklevel=4)
