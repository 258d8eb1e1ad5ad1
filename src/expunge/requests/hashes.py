"""The table of sealed perceptual hashes, under the chain: each request's entry holds a digest of its rows."""

import hashlib
from collections.abc import Sequence
from itertools import groupby

from expunge.base.errors import LedgerError
from expunge.requests.database import Fingerprint
from expunge.requests.project import Ledger

TABLE = "fingerprints"


def digest_of(prints: Sequence[Fingerprint]) -> str:
    """Return the SHA-256 of the sealed hashes of one request, in order of its rows."""
    return hashlib.sha256(b"".join(sealed for _, _, sealed in prints)).hexdigest()


def digests_of(prints: Sequence[Fingerprint]) -> dict[str, str]:
    """Return the digest of each request's rows; the rows must be in order."""
    return {name: digest_of(list(rows)) for name, rows in groupby(prints, lambda item: item[0])}


def read_checked(ledger: Ledger) -> list[Fingerprint]:
    """Return all sealed perceptual hashes.

    Raises:
        LedgerError: some were changed, removed or added.
    """
    prints = ledger.database.read_fingerprints()
    problems = find_changed(ledger, prints)
    if problems:
        raise LedgerError(TABLE, "the perceptual hashes as they were written", problems[0], "the table was changed")
    return prints


def find_changed(ledger: Ledger, prints: Sequence[Fingerprint]) -> list[str]:
    """Return a sentence for each request whose perceptual hashes are not as they were written."""
    if ledger.state.schema < 2:  # nothing was written down then
        return []
    try:
        found = digests_of(prints)
    except TypeError:
        return [f"{TABLE}: not even bytes"]
    expected = {one.name: one.fingerprints for one in ledger.state.requests.values() if one.fingerprints is not None}
    wrong = sorted({str(name) for name, _ in expected.items() ^ found.items()})
    numbers = {name: 0 for name in expected}
    for name, row, _ in prints:
        if name in numbers and row != numbers[name]:
            wrong.append(name)
        numbers[name] = numbers.get(name, 0) + 1
    return [f"{TABLE} of {name}: not as they were written" for name in dict.fromkeys(wrong)]
