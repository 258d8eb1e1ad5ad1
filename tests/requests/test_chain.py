from dataclasses import replace

import pytest

from expunge.base.errors import LedgerError
from expunge.requests.chain import check_chain, check_head, make_entries

KEY = b"k" * 32


@pytest.fixture
def entries():
    first = make_entries(KEY, None, [("created", {"a": 1}), ("received", {"b": "é"})])
    return first + make_entries(KEY, first[-1], [("validated", {"c": [1.5]})])


def test_an_untouched_chain_is_sound(entries):
    check_chain(KEY, entries)
    check_head(entries, {"number": 3, "hash": entries[2].hash})
    assert [entry.body for entry in entries] == [{"a": 1}, {"b": "é"}, {"c": [1.5]}]


@pytest.mark.parametrize("field", ["time", "kind", "text", "hash"])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_any_changed_field_of_any_entry_is_found(entries, field, row):
    changed = list(entries)
    changed[row] = replace(entries[row], **{field: getattr(entries[row], field)[:-1] + "x"})
    with pytest.raises(LedgerError, match=f"entry {row + 1}`: expected what was written, got another content"):
        check_chain(KEY, changed)


def test_removed_and_exchanged_entries_are_found(entries):
    for changed in (entries[1:], [entries[0], entries[2]], [entries[1], entries[0], entries[2]]):
        with pytest.raises(LedgerError, match="the entry that followed when it was written, got a gap"):
            check_chain(KEY, changed)


def test_a_chain_written_with_another_key_is_found(entries):
    with pytest.raises(LedgerError, match="the key is another one"):
        check_chain(b"o" * 32, entries)


def test_a_shortened_and_a_rewritten_chain_are_found_by_the_head(entries):
    head = {"number": 3, "hash": entries[2].hash}
    with pytest.raises(LedgerError, match="expected at least 3 entries, got 2; the last ones were removed"):
        check_head(entries[:2], head)
    rewritten = entries[:2] + make_entries(KEY, entries[1], [("validated", {"c": [2.5]})])
    check_chain(KEY, rewritten)
    with pytest.raises(LedgerError, match="entry 3"):
        check_head(rewritten, head)
