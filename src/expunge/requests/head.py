"""The newest entry, noted outside of the database: once in the project folder, once beside the key.

Both notes carry a code that nobody can make without the key. The one beside the key lies outside of the folder, so
that an older copy of the whole folder does not pass for the newest.
"""

import hmac
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

from expunge.base.disk import PRIVATE, write_text
from expunge.base.errors import ExpungeWarning, LedgerError, OutputError
from expunge.requests.keys import Keys

HEAD_FILE = "head.json"
PURPOSE = "head"


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """How far the ledger reached.

    Args:
        number: of the newest entry: it only grows.
        finished: number of the newest entry whose files are all in place; smaller while a command is at work, and
            after one was interrupted.
        hash: of the newest entry.
    """

    number: int
    finished: int
    hash: str

    def text(self, keys: Keys, project: str) -> str:
        """Return the note of a project's head, with its code."""
        return json.dumps(
            {
                "number": self.number,
                "hash": self.hash,
                "finished": self.finished,
                "code": keys.code(PURPOSE, self._content(project)),
            }
        )

    def _content(self, project: str) -> bytes:
        return f"{project} {self.number} {self.finished} {self.hash}".encode()

    def has_code(self, keys: Keys, project: str, code: str) -> bool:
        """Return whether this is the code of this head."""
        return hmac.compare_digest(keys.code(PURPOSE, self._content(project)), code)


@dataclass(frozen=True, slots=True)
class Notes:
    """Where a project's head is noted.

    Args:
        inside: in the project folder.
        outside: beside the key.
        key: the key's file.
        keys: of the project.
        project: its id, the hash of its first entry.
    """

    inside: Path
    outside: Path
    key: Path
    keys: Keys
    project: str

    @classmethod
    def of(cls, folder: Path, key: Path, keys: Keys, project: str) -> "Notes":
        """Return the notes of the project in `folder`; a key may serve several projects."""
        return cls(folder / HEAD_FILE, key.with_name(f"{key.name}.{project[:16]}.head"), key, keys, project)

    def read(self) -> tuple[Head, bool]:
        """Return the newest head that was noted, and whether it has a code: projects of old have none.

        Raises:
            LedgerError: there is no note, or one was changed.
        """
        inside, coded = self._read(self.inside)
        if not self.outside.exists():
            return inside, coded
        outside, also = self._read(self.outside)
        if not coded or not also:
            place = self.outside if coded else self.inside
            raise LedgerError(str(place), "a note with the key's code", "one without", "the file was changed")
        return max(inside, outside), True

    @property
    def is_complete(self) -> bool:
        """Return whether the note beside the key is there."""
        return self.outside.exists()

    def write(self, head: Head) -> None:
        """Note the head in both places.

        Raises:
            OutputError: the folder can't be written to, or the disk is full.

        Warns:
            ExpungeWarning: the note beside the key can't be written.
        """
        text = head.text(self.keys, self.project)
        write_text(self.inside, text)
        try:
            write_text(self.outside, text, mode=PRIVATE)
        except OutputError as error:
            warnings.warn(f"an older copy of the whole folder would go unseen: {error}", ExpungeWarning, stacklevel=2)

    def _read(self, path: Path) -> tuple[Head, bool]:
        rule = "the number and hash of the last entry"
        try:
            values = json.loads(path.read_text("utf-8"))
            if set(values) == {"number", "hash"} and int(values["number"]) > 0:
                return Head(int(values["number"]), int(values["number"]), str(values["hash"])), False
            head = Head(int(values["number"]), int(values["finished"]), str(values["hash"]))
            genuine = head.number > 0 and head.has_code(self.keys, self.project, str(values["code"]))
        except FileNotFoundError as error:
            other = self.outside if path == self.inside else self.inside
            raise LedgerError(str(path), rule, "no file", f"if it was lost, copy {other} there") from error
        except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LedgerError(str(path), rule, f"{error}", "the file was changed") from error
        if not genuine:
            raise LedgerError(str(path), "what was noted with the key", "another content", "the file was changed")
        return head, True
