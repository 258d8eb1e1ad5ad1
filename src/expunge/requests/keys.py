"""The project's key: salted hashes, the chain's hashes and the encryption of kept images all come from it."""

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from expunge.base.disk import write_text
from expunge.base.errors import LedgerError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:
    raise LedgerError("requests", "cryptography", "none installed", "pip install 'expunge[requests]'") from error

KEY_BYTES = 32
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Three keys derived from one secret of 32 bytes.

    >>> keys = Keys.derive(bytes(32))
    >>> keys.open(keys.seal(b"pixels", "R0001"), "R0001")
    b'pixels'
    """

    chain: bytes
    content: bytes
    sealing: bytes

    @classmethod
    def derive(cls, secret: bytes) -> "Keys":
        """Return the keys of a secret."""
        chain, content, sealing = (
            hmac.digest(secret, purpose, "sha256") for purpose in (b"chain", b"content", b"seal")
        )
        return cls(chain, content, sealing)

    def hash_content(self, content: bytes) -> str:
        """Return the salted hash of `content`: without the key, nobody can tell whether a picture is in the ledger."""
        return hmac.digest(self.content, content, "sha256").hex()

    def seal(self, content: bytes, owner: str) -> bytes:
        """Return `content` encrypted and authenticated (AES-256-GCM), bound to the name of its owner."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.sealing).encrypt(nonce, content, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Return what `seal` was given.

        Raises:
            LedgerError: it was changed, belongs to another owner, or the key is another one.
        """
        try:
            return AESGCM(self.sealing).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError) as error:
            raise LedgerError(
                f"sealed data of {owner}", "data sealed with this key", "damaged data, or another key"
            ) from error


def make_key(path: Path) -> None:
    """Write a new secret to `path`, readable by its owner only.

    Raises:
        LedgerError: there is a file already.
        OutputError: it can't be written.
    """
    if path.exists():
        raise LedgerError(str(path), "no file yet", "one that is there", "a key is never replaced")
    write_text(path, secrets.token_hex(KEY_BYTES) + "\n")
    path.chmod(0o600)


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
