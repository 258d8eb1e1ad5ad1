import pytest

from expunge.base.errors import LedgerError
from expunge.requests.chain import checked, make_entries

KEY = b"k" * 32


@pytest.fixture
def entries():
    first = make_entries(KEY, None, [("created", {"a": 1}), ("received", {"b": "é"})])
    return first + make_entries(KEY, first[-1], [("validated", {"c": [1.5]})])


def check_chain(key, entries):
    list(checked(key, entries))


def test_an_untouched_chain_is_sound(entries):
    check_chain(KEY, entries)
    assert list(checked(KEY, entries[1:], entries[0])) == entries[1:]
    assert [entry.body for entry in entries] == [{"a": 1}, {"b": "é"}, {"c": [1.5]}]


@pytest.mark.parametrize("field", ["time", "kind", "text", "hash"])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_any_changed_field_of_any_entry_is_found(entries, field, row):
    changed = list(entries)
    changed[row] = entries[row]._replace(**{field: getattr(entries[row], field)[:-1] + "x"})
    with pytest.raises(LedgerError, match=f"entry {row + 1}`: expected what was written, got another content"):
        check_chain(KEY, changed)


def test_removed_and_exchanged_entries_are_found(entries):
    for changed in (entries[1:], [entries[0], entries[2]], [entries[1], entries[0], entries[2]]):
        with pytest.raises(LedgerError, match="the entry that followed when it was written, got a gap"):
            check_chain(KEY, changed)


def test_a_chain_written_with_another_key_is_found(entries):
    with pytest.raises(LedgerError, match="the key is another one"):
        check_chain(b"o" * 32, entries)


@pytest.mark.parametrize("value", [None, b"bytes", 5, "\ud800"])
def test_what_is_not_text_is_a_change(entries, value):
    for field in ("time", "kind", "text", "hash"):
        with pytest.raises(LedgerError, match="entry 2`: expected what was written"):
            check_chain(KEY, [entries[0], entries[1]._replace(**{field: value})])
