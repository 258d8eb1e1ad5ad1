"""Who may do what: roles stand in the ledger, and nobody gets one without the project's key; links sign people in."""

import re
import secrets
import time
from dataclasses import dataclass
from enum import IntEnum

from expunge.base.errors import LedgerError
from expunge.requests.desk.limits import LONGEST_SESSION
from expunge.requests.desk.store import Store
from expunge.requests.project import Ledger

COMMAND_LINE = "(command line)"
"""Who did it where nobody gave a name; no person can have this one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
TOKEN_BYTES = 32
HOUR = 3600.0
IDLE_SESSION = 1 * HOUR


class Role(IntEnum):
    """What a person may do; each may do what those before may."""

    READER = 1
    """Sees requests, their pictures, and the ledger."""
    REQUESTER = 2
    """Adds requests, and withdraws those that were not applied."""
    APPROVER = 3
    """Approves, applies, undoes, withdraws, purges and exports."""

    @property
    def word(self) -> str:
        """Return the name as it stands in the ledger."""
        return self.name.lower()


ROLES = {role.word: role for role in Role}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works at the desk."""

    name: str
    role: Role


def check_name(name: str) -> str:
    """Return a name that a person can have.

    Raises:
        LedgerError: it is none.
    """
    if not NAME.fullmatch(name):
        raise LedgerError("name", "up to 40 letters, digits, spaces and . _ -", repr(name)[:60], "initials will do")
    return name


def give_role(ledger: Ledger, name: str, role: Role) -> None:
    """Note in the ledger that a person is invited, and which role they have from now on.

    Raises:
        LedgerError: no name that a person can have.
    """
    ledger.append([("invited", {"person": check_name(name), "role": role.word})])


def invite(store: Store, name: str, *, hours: float) -> str:
    """Return the token of a link that signs a person in, once."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    store.add_invitation(token, name, time.time() + hours * HOUR)
    return token


def dismiss(ledger: Ledger, store: Store, name: str) -> None:
    """Take a person's role, and end their sessions.

    Raises:
        LedgerError: nobody of that name has a role.
    """
    if name not in ledger.state.people:
        known = ", ".join(sorted(ledger.state.people)) or "nobody yet"
        raise LedgerError("name", f"a person of the desk ({known})", repr(name)[:60])
    ledger.append([("dismissed", {"person": name})])
    store.end_sessions_of(name)


def sign_in(store: Store, token: str) -> tuple[str, str] | None:
    """Return whom a token invites, and the secret of their new session; it is then used. None if it is not valid."""
    person = store.find_invitation(token)
    if person is None or not store.use_invitation(token):
        return None
    session = secrets.token_urlsafe(TOKEN_BYTES)
    store.note(person, "signed in")
    store.add_session(session, person)
    return person, session


def sign_out(store: Store, person: str, session: str) -> None:
    """End a session."""
    store.end_session(session)
    store.note(person, "signed out")


def find_person(ledger: Ledger, store: Store, session: str) -> Person | None:
    """Return whose session it is, with the role that the ledger gives now; None if it has ended."""
    name = store.find_session(session, longest=LONGEST_SESSION, idle=IDLE_SESSION)
    role = ROLES.get(ledger.state.people.get(name or "", ""))
    return None if name is None or role is None else Person(name, role)
