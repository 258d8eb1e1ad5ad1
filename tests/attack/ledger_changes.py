"""Changes of a project that somebody without its key can make, rollbacks among them."""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ledger_project import KEEPING, add, apply, draw_rows

from expunge.requests.project import Ledger
from expunge.requests.receive import RequestOptions, receive
from expunge.requests.recovery import writing
from expunge.requests.state import LedgerState

Change = Callable[[Path, "Victim", random.Random], None]
GARBAGE = (b"", b"\0" * 64, b"{}", b"[]", b"[" * 5000, b"null", b'{"number": 1e999}', b"\xff\xfe\x00", b"a = [\n")


@dataclass(frozen=True, slots=True)
class Victim:
    """A project, and what it was earlier.

    Args:
        newest: the project, in a folder with its key.
        ages: whole copies of its folder, oldest first; the key's folder is not among them.
        state: what its entries add up to.
        files: its sealed files.
    """

    newest: Path
    ages: tuple[Path, ...]
    state: LedgerState
    files: tuple[str, ...]

    @classmethod
    def make(cls, template: Path, ages: Path) -> "Victim":
        """Return the project after some more commands, with copies of its folder from before each of them."""
        copies = []
        for number, command in enumerate((apply, add, apply)):
            copies.append(shutil.copytree(template, ages / str(number)))
            command(template)
        with writing(template) as ledger:
            receive(ledger, draw_rows().rows([6]), KEEPING)
            receive(ledger, draw_rows().rows([7]), RequestOptions(reference="letter 7"))
        state = Ledger.open(template).state
        files = sorted(path.name for path in template.rglob("*.sealed"))
        return cls(template, tuple(copies), state, tuple(files))

    def has_all_files(self, place: Path) -> bool:
        """Return whether each sealed file is still somewhere, unless the change itself took it away."""
        there = {path.name for path in place.rglob("*.sealed*")}
        gone = place / "taken"
        taken = set(gone.read_text().split()) if gone.exists() else set()
        return all(any(name.startswith(one) for name in there) for one in self.files if one not in taken)


def execute(place: Path, *statements: str | tuple[str, tuple[object, ...]]) -> None:
    """Change the database with its rules removed, and put them back."""
    with closing(sqlite3.connect(place / "ledger.sqlite")) as connection:
        rules = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in rules:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))
        for _, sql in rules:
            with suppress(sqlite3.OperationalError):  # the table is gone
                connection.execute(sql)
        connection.commit()


def entries_of(place: Path) -> list[tuple]:
    """Return the rows of the table of entries."""
    with closing(sqlite3.connect(place / "ledger.sqlite")) as connection:
        return connection.execute("SELECT * FROM entries ORDER BY number").fetchall()


def change_field(place: Path, victim: Victim, draw: random.Random) -> None:
    """Write something else into a field of an entry."""
    row = draw.choice(entries_of(place))
    field = draw.choice(("time", "kind", "text", "previous", "hash"))
    value = row[("number", "time", "kind", "text", "previous", "hash").index(field)]
    place_of = draw.randrange(len(value))
    other = draw.choice((value[:place_of] + "x" + value[place_of + 1 :], value.upper(), value + " ", "", b"\xff", 7))
    other = "y" if other == value else other
    execute(place, (f"UPDATE entries SET {field} = ? WHERE number = ?", (other, row[0])))  # noqa: S608


def change_reference(place: Path, victim: Victim, draw: random.Random) -> None:
    """Let a letter be another one."""
    execute(place, "UPDATE entries SET text = replace(text, 'letter 1', 'letter 9') WHERE kind = 'received'")


def remove_entries(place: Path, victim: Victim, draw: random.Random) -> None:
    """Remove an entry, or some at the end."""
    number = draw.randint(1, len(entries_of(place)))
    execute(place, (f"DELETE FROM entries WHERE number {draw.choice(('=', '>='))} ?", (number,)))  # noqa: S608


def cut_off(place: Path, victim: Victim, draw: random.Random) -> None:
    """Drop the newest entries, write the last one's number and hash into the head, and put older weights back."""
    rows = entries_of(place)
    last = rows[draw.randint(0, len(rows) - 2)]
    execute(place, ("DELETE FROM entries WHERE number > ?", (last[0],)))
    (place / "head.json").write_text(json.dumps({"number": last[0], "hash": last[-1]}))
    shutil.copy(draw.choice(victim.ages) / "current.safetensors", place)


def forge_head(place: Path, victim: Victim, draw: random.Random) -> None:
    """Write a head without the key, and drop what it no longer names."""
    rows = entries_of(place)
    last = draw.choice(rows)
    heads = (
        {"number": 0},
        {"number": 0, "hash": ""},
        {"number": last[0], "hash": last[-1], "finished": last[0], "code": "0" * 64},
        {"number": last[0], "hash": last[-1], "finished": last[0], "code": 5},
        {"number": -1, "hash": rows[-1][-1]},
        {"number": "x", "hash": None},
    )
    (place / "head.json").write_text(json.dumps(draw.choice(heads)))
    if draw.random() < 0.5:
        execute(place, ("DELETE FROM entries WHERE number > ?", (last[0],)))


def spoil_head(place: Path, victim: Victim, draw: random.Random) -> None:
    """Write nonsense into the head, or take it away."""
    (place / "head.json").unlink()
    if draw.random() < 0.8:
        (place / "head.json").write_bytes(draw.choice(GARBAGE))


def put_back_folder(place: Path, victim: Victim, draw: random.Random) -> None:
    """Put an older copy of the whole folder in its place."""
    shutil.rmtree(place)
    shutil.copytree(draw.choice(victim.ages), place)
    name_taken(place, *victim.files)


def put_back_ledger(place: Path, victim: Victim, draw: random.Random) -> None:
    """Put back an older database, with or without its head, snapshot and weights."""
    old = draw.choice(victim.ages)
    names = ["ledger.sqlite", *draw.sample(("head.json", "state.snapshot", "current.safetensors"), draw.randint(0, 3))]
    for name in names:
        shutil.copy(old / name, place)


def put_back_weights(place: Path, victim: Victim, draw: random.Random) -> None:
    """Deploy older weights again."""
    shutil.copy(draw.choice(victim.ages[:2]) / "current.safetensors", place)


def put_back_snapshot(place: Path, victim: Victim, draw: random.Random) -> None:
    """Put back an older snapshot, which is no lie, or spoil it."""
    path = place / "state.snapshot"
    if draw.random() < 0.3:
        shutil.copy(draw.choice(victim.ages) / path.name, place)
        return
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1
    path.write_bytes(draw.choice((bytes(content), *GARBAGE)))


def change_table(place: Path, victim: Victim, draw: random.Random) -> None:
    """Change the table of perceptual hashes."""
    execute(
        place,
        draw.choice(
            (
                "DELETE FROM fingerprints WHERE request = 'R0001'",
                "DELETE FROM fingerprints",
                "UPDATE fingerprints SET sealed = (SELECT sealed FROM fingerprints WHERE request = 'R0002')",
                "UPDATE fingerprints SET sealed = zeroblob(44) WHERE request = 'R0002'",
                "UPDATE fingerprints SET sealed = 'text' WHERE request = 'R0001'",
                "UPDATE fingerprints SET request = 'R0009' WHERE request = 'R0001'",
                "UPDATE fingerprints SET row = 7 WHERE request = 'R0001'",
                "INSERT INTO fingerprints SELECT request, 5, sealed FROM fingerprints WHERE request = 'R0001'",
                "DROP TABLE fingerprints",
            )
        ),
    )


def change_database(place: Path, victim: Victim, draw: random.Random) -> None:
    """Change tables, or the file itself."""
    path = place / "ledger.sqlite"
    kind = draw.randrange(4)
    if kind == 0:
        path.write_bytes(draw.choice(GARBAGE) * 100)
    elif kind == 1:
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
    elif kind == 2:
        content = bytearray(path.read_bytes())
        for _ in range(40):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(bytes(content))
    else:
        statements = (
            "DROP TABLE entries",
            "DELETE FROM meta",
            "UPDATE meta SET value = 'x'",
            "UPDATE meta SET value = '99999999999999999999'",
            "ALTER TABLE entries RENAME COLUMN text TO texts",
            "UPDATE meta SET name = 'y'",
        )
        execute(place, draw.choice(statements))


def change_settings(place: Path, victim: Victim, draw: random.Random) -> None:
    """Point the project to another key or database, or spoil its settings."""
    texts = (
        'key = "key"\n',
        "key = 5\n",
        'key = "../project.key"\ndatabase = "sqlite:///other.sqlite"\n',
        'key = "../project.key"\ndatabase = ["x"]\n',
        'key = "../project.key"\ndatabase = "::"\n',
        'key = "."\n',
        'key = "a\\u0000b"\n',
        'key = "/dev/null"\n',
    )
    (place / "project.toml").write_bytes(draw.choice((*(text.encode() for text in texts), *GARBAGE[1:])))


def spoil_file(place: Path, victim: Victim, draw: random.Random) -> None:
    """Flip a bit of a sealed file or of the weights, cut it, take it away, or put a folder or a link there."""
    path = draw.choice([*sorted(place.rglob("*.sealed")), place / "current.safetensors"])
    content = path.read_bytes()
    path.unlink()
    name_taken(place, path.name)
    kind = draw.randrange(6)
    if kind == 0:
        spot = draw.randrange(len(content))
        path.write_bytes(content[:spot] + bytes([content[spot] ^ 1]) + content[spot + 1 :])
    elif kind == 1:
        path.write_bytes(content[: draw.randrange(len(content))])
    elif kind == 2:
        path.mkdir()
    elif kind == 3:
        path.symlink_to("/nonexistent")
    elif kind == 4:
        path.write_bytes(draw.choice(GARBAGE))


def swap_files(place: Path, victim: Victim, draw: random.Random) -> None:
    """Let two sealed files be each other."""
    first, second = draw.sample(sorted(place.rglob("*.sealed")), 2)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def plant_files(place: Path, victim: Victim, draw: random.Random) -> None:
    """Put files there that no entry names."""
    folder = place / draw.choice(("versions", "images"))
    if draw.random() < 0.5:
        (folder / "R0001-000000000000.sealed").write_bytes(b"planted")
    else:
        shutil.copy(sorted(folder.iterdir())[0], folder / "copy.sealed")


def name_taken(place: Path, *names: str) -> None:
    """Note that a change itself took files away."""
    (place / "taken").write_text("\n".join(names))


CHANGES: dict[str, Change] = {
    change.__name__: change
    for change in (
        change_field,
        change_reference,
        remove_entries,
        cut_off,
        forge_head,
        spoil_head,
        put_back_folder,
        put_back_ledger,
        put_back_weights,
        put_back_snapshot,
        change_table,
        change_database,
        change_settings,
        spoil_file,
        swap_files,
        plant_files,
    )
}
