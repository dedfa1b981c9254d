"""A stream under a passphrase: scrypt, then ChaCha20-Poly1305 over pieces of 64 KiB that can't be reordered or cut.

The form is age's STREAM: the nonce is the piece's number and a byte that says whether it is the last one.
"""

import json
import os
import struct
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hawkops.core.errors import InvalidInput

MAGIC = b"hawkops-backup-sealed/1\n"
PIECE = 65_536
TAG = 16
# 2^17 takes 128 MiB and some half a second; a file that asks for more is not ours
WORK, WORK_MOST = 17, 20
HEAD_MOST = 1_000
PASSPHRASE_LEAST = 12


class Damaged(InvalidInput):
    """The file is cut, altered, not a backup, or sealed with another passphrase."""


def _key(passphrase: str, salt: bytes, work: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**work, r=8, p=1).derive(passphrase.encode())


def _nonce(number: int, *, last: bool) -> bytes:
    return struct.pack(">3xQB", number, last)


class Sealing:
    """Write what is sealed into `target`. Only `close` writes the last piece, without which it can't be opened whole."""

    def __init__(self, target: BinaryIO, passphrase: str) -> None:
        if len(passphrase) < PASSPHRASE_LEAST:
            raise InvalidInput(f"A passphrase has {PASSPHRASE_LEAST} characters or more.")
        salt = os.urandom(16)
        self._head = MAGIC + json.dumps({"kdf": "scrypt", "work": WORK, "salt": salt.hex()}).encode() + b"\n"
        self._box = ChaCha20Poly1305(_key(passphrase, salt, WORK))
        self._target = target
        self._left = bytearray()
        self._number = 0
        target.write(self._head)

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._left += data
        # one piece is kept back: it may be the last
        while len(self._left) > PIECE:
            self._put(bytes(self._left[:PIECE]), last=False)
            del self._left[:PIECE]
        return len(data)

    def close(self) -> None:
        """Write the last piece."""
        self._put(bytes(self._left), last=True)
        self._left.clear()

    def _put(self, piece: bytes, *, last: bool) -> None:
        self._target.write(self._box.encrypt(_nonce(self._number, last=last), piece, self._head))
        self._number += 1


class Opening:
    """Read what was sealed. Every byte that `read` returns is proven; an end that is not the sealed one is an error."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        head = source.read(len(MAGIC))
        line = source.readline(HEAD_MOST)
        try:
            given = json.loads(line)
            work, salt = int(given["work"]), bytes.fromhex(given["salt"])
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged("The head of the sealed backup can't be read.") from error
        if head != MAGIC or not 1 <= work <= WORK_MOST:
            raise Damaged("The head of the sealed backup asks for what no backup needs.")
        self._head = head + line
        self._box = ChaCha20Poly1305(_key(passphrase, salt, work))
        self._source = source
        self._left = b""
        self._number = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, all of them unless the end comes first."""
        parts, have = [self._left], len(self._left)
        while not self._ended and (size < 0 or have < size):
            parts.append(self._piece())
            have += len(parts[-1])
        found = b"".join(parts)
        if size < 0:
            size = len(found)
        self._left = found[size:]
        return found[:size]

    def _piece(self) -> bytes:
        sealed = self._source.read(PIECE + TAG)
        whole = len(sealed) == PIECE + TAG
        # a whole piece is the last one only where nothing follows
        following = self._source.read(1) if whole else b""
        if following:
            self._source.seek(-1, os.SEEK_CUR)
        self._ended = not following
        try:
            opened = self._box.decrypt(_nonce(self._number, last=self._ended), sealed, self._head)
        except InvalidTag as error:
            why = (
                "the passphrase is another one, or the file was altered"
                if self._number == 0
                else "it is cut or altered"
            )
            raise Damaged(f"The sealed backup can't be opened: {why}.") from error
        self._number += 1
        return opened
