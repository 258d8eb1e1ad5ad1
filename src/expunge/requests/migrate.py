"""Projects of older versions: their weights and patches are sealed, their perceptual hashes put under the chain."""

import warnings
from dataclasses import asdict

from expunge.base.errors import ExpungeWarning
from expunge.requests.database import SCHEMA_VERSION
from expunge.requests.hashes import digests_of
from expunge.requests.place import FIRST_FILE
from expunge.requests.project import Ledger
from expunge.requests.purge import stored_file, unlink
from expunge.requests.sealed import FIRST, owner_of_patch, read_stored, write_patch, write_sealed

NOTE = (
    "the project was made by an older version: its first weights and patches are sealed now, and a note of the newest "
    "entry lies beside the key; ids that are file names stay in its entries"
)


def migrate(ledger: Ledger) -> None:
    """Bring a project of an older version up to date; others stay as they are.

    Every file is checked against the ledger before it is sealed. If the process dies before the entry, the next
    command begins anew; if it dies after it, recovery deletes the files that are not sealed.

    Raises:
        LedgerError: a file is missing, or not the one that the ledger names.

    Warns:
        ExpungeWarning: the project was of an older version.
    """
    state = ledger.state
    if state.schema < SCHEMA_VERSION:
        ledger.check()
        old = [stored_file(ledger.folder, FIRST_FILE)]
        first = read_stored(ledger, old[0], "the first weights", FIRST)
        patches = {}
        for version in state.versions.values():
            owner = owner_of_patch(version.number)
            content = read_stored(ledger, version.patch, f"the patch of version {version.number}", owner)
            patches[str(version.number)] = asdict(write_patch(ledger, version.number, content))
            old.append(version.patch)
        found = digests_of(ledger.database.read_fingerprints())
        sealed = {
            "schema_version": SCHEMA_VERSION,
            "first": asdict(write_sealed(ledger.folder, ledger.keys, FIRST, first, FIRST)),
            "patches": patches,
            "fingerprints": {name: digest for name, digest in found.items() if name in state.requests},
            "files": [asdict(file) for file in old],
        }
        ledger.append([("sealed", sealed)])
        unlink(ledger.folder, [file.path for file in old])
        warnings.warn(NOTE, ExpungeWarning, stacklevel=2)
    if ledger.database.schema() < SCHEMA_VERSION:
        ledger.database.upgrade()
