"""The project's key: salted hashes, codes of entries and notes, and the encryption of files all come from it."""

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from expunge.base.disk import PRIVATE, write_text
from expunge.base.errors import LedgerError, package_needed

with package_needed("cryptography", "requests", LedgerError):
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
CHUNK_BYTES = 1 << 26
"""A file is sealed in chunks of this size, since AES-GCM takes no more than 2 GiB at once."""


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Keys derived from one secret of 32 bytes.

    >>> keys = Keys.derive(bytes(32))
    >>> keys.open(keys.seal(b"pixels", "R0001"), "R0001")
    b'pixels'
    """

    chain: bytes
    content: bytes
    sealing: AESGCM
    notes: bytes

    @classmethod
    def derive(cls, secret: bytes) -> "Keys":
        """Return the keys of a secret."""
        chain, content, sealing, notes = (
            hmac.digest(secret, purpose, "sha256") for purpose in (b"chain", b"content", b"seal", b"notes")
        )
        return cls(chain, content, AESGCM(sealing), notes)

    def hash_content(self, content: bytes) -> str:
        """Return the salted hash of `content`: without the key, nobody can tell whether a picture is in the ledger."""
        return hmac.digest(self.content, content, "sha256").hex()

    def code(self, purpose: str, content: bytes) -> str:
        """Return the keyed code of a note or a snapshot: without the key, nobody can write another one."""
        return hmac.digest(self.notes, purpose.encode() + b"\n" + content, "sha256").hex()

    def seal(self, content: bytes, owner: str) -> bytes:
        """Return `content` encrypted and authenticated (AES-256-GCM), bound to the name of its owner."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self.sealing.encrypt(nonce, content, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Return what `seal` was given.

        Raises:
            LedgerError: it was changed, belongs to another owner, or the key is another one.
        """
        try:
            return self.sealing.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError) as error:
            raise LedgerError(
                f"sealed data of {owner}", "data sealed with this key", "damaged data, or another key"
            ) from error

    def seal_file(self, content: bytes, owner: str) -> bytes:
        """Return the content of a file of any size, sealed chunk by chunk.

        >>> keys = Keys.derive(bytes(32))
        >>> keys.open_file(keys.seal_file(b"weights", "first"), "first")
        b'weights'
        """
        starts = range(0, max(len(content), 1), CHUNK_BYTES)
        return b"".join(self.seal(content[start : start + CHUNK_BYTES], f"{owner}:{start}") for start in starts)

    def open_file(self, sealed: bytes, owner: str) -> bytes:
        """Return what `seal_file` was given; whoever calls it checks that no chunk is missing at the end.

        Raises:
            LedgerError: it was changed, belongs to another owner, or the key is another one.
        """
        size = CHUNK_BYTES + NONCE_BYTES + TAG_BYTES
        starts = range(0, max(len(sealed), 1), size)
        return b"".join(
            self.open(sealed[start : start + size], f"{owner}:{start // size * CHUNK_BYTES}") for start in starts
        )


def make_key(path: Path) -> None:
    """Write a new secret to `path`, readable by its owner only, from its first byte on.

    Raises:
        LedgerError: there is a file already.
        OutputError: it can't be written.
    """
    if path.exists():
        raise LedgerError(str(path), "no file yet", "one that is there", "a key is never replaced")
    write_text(path, secrets.token_hex(KEY_BYTES) + "\n", mode=PRIVATE)


def read_key(path: Path) -> Keys:
    """Return the keys of the secret in `path`.

    Raises:
        LedgerError: no such file, or no key in it.
    """
    try:
        secret = bytes.fromhex(path.read_text("ascii").strip())
    except FileNotFoundError as error:
        raise LedgerError(
            str(path), "the project's key", "no file", "without it nothing can be checked; restore it from a backup"
        ) from error
    except (OSError, ValueError) as error:
        raise LedgerError(str(path), "a key that can be read", str(error)) from error
    if len(secret) != KEY_BYTES:
        raise LedgerError(str(path), f"a key of {KEY_BYTES} bytes", f"{len(secret)} bytes")
    return Keys.derive(secret)
