"""The versions that are installed have hashes."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def versions_in(text):
    return {(re.sub("[._-]+", "-", name).lower(), version) for name, version in PINNED.findall(text)}


def test_every_version_has_hashes_and_no_other_has():
    hashed = (ROOT / "constraints.hashes.txt").read_text()
    assert versions_in(hashed) == versions_in((ROOT / "constraints.txt").read_text())
    blocks = re.split(r"^(?=[A-Za-z0-9])", hashed, flags=re.MULTILINE)[1:]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
