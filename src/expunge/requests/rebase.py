"""Forgetting the way back: older weights and patches still hold what was unlearned."""

from dataclasses import asdict

from safetensors.torch import save

from expunge.base.errors import LedgerError
from expunge.requests.project import Ledger
from expunge.requests.purge import unlink
from expunge.requests.sealed import FIRST, write_sealed
from expunge.requests.state import State, StoredFile
from expunge.requests.weights import read_current


def purge_versions(ledger: Ledger) -> list[StoredFile]:
    """Delete the first weights and every patch, and return them; the project begins anew from its newest weights.

    Surrogates that were made from the first weights go with them. Undo, withdrawal of what was applied, and edits from
    the first classifier end there. Drift goes on from where it stands.

    Raises:
        LedgerError: there is no version, or an applied request is not verified yet.
    """
    state = ledger.state
    if not state.versions or state.newest == state.base:
        raise LedgerError("--versions", "versions to delete", "none since the first weights")
    waiting = state.in_state(State.APPLIED)
    if waiting:
        raise LedgerError("--versions", "verified requests", f"{waiting[0].name}, which is applied", "apply it first")
    weights = {name: tensor.contiguous() for name, tensor in read_current(ledger).items()}
    files = [version.patch for version in state.versions.values() if version.patch.path not in state.purged]
    files += [file for file in (state.first, state.cache) if file is not None]
    first = write_sealed(ledger.folder, ledger.keys, FIRST, save(weights), FIRST)
    carried = state.versions[state.newest].figures["drift"]["spent"]
    body = {"first": asdict(first), "carried": carried, "files": [asdict(file) for file in files]}
    ledger.append([("rebased", body)])
    unlink(ledger.folder, [file.path for file in files])
    return files
