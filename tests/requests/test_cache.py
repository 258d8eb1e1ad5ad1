"""Surrogates of the first classifier are sealed between edits, and found again by the next."""

import pytest

from expunge.base.errors import LedgerError
from expunge.requests.cache import pack_cache, unpack_cache
from expunge.requests.place import CACHE_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing
from expunge.requests.verify import verify_project

NAME = f"{CACHE_FOLDER}/inverted/0123/0000.safetensors"


def make_surrogates(folder, content=b"surrogates", name=NAME):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_surrogates_come_back_as_they_were(project):
    make_surrogates(project)
    with writing(project) as ledger:
        pack_cache(ledger)
        (project / NAME).unlink()
        unpack_cache(ledger)

    assert (project / NAME).read_bytes() == b"surrogates"
    assert b"surrogates" not in (project / ledger.state.cache.path).read_bytes()
    assert verify_project(Ledger.open(project)).problems == ()


def test_they_are_sealed_again_only_when_more_are_made(project):
    make_surrogates(project)
    with writing(project) as ledger:
        pack_cache(ledger)
        old = ledger.state.cache
        pack_cache(ledger)
        assert ledger.state.cache == old
        make_surrogates(project, b"more", NAME.replace("0000", "0001"))
        pack_cache(ledger)

    assert ledger.state.cache != old
    assert not (project / old.path).exists()
    assert verify_project(Ledger.open(project)).problems == ()


def test_other_surrogates_in_their_place_are_refused(project):
    make_surrogates(project)
    with writing(project) as ledger:
        pack_cache(ledger)
        path = project / ledger.state.cache.path
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(LedgerError, match="the surrogates"):
            unpack_cache(ledger)
