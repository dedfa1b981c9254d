"""Signed checkpoints: a tree's size and root in the form of C2SP tlog-checkpoint, as a signed note with Ed25519.

Sources: c2sp.org/tlog-checkpoint and c2sp.org/signed-note. Anything that reads checkpoints of transparency logs reads these.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
DASH = "\N{EM DASH}"
NAME = re.compile(r"[^\s+]+")


class Unproven(ValueError):
    """A checkpoint that is none, or that no known key signed."""


@dataclass(frozen=True)
class Verifier:
    """Who may sign: a name and a public key. As text: `name+key id+base64 of kind and key`."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Return the four bytes that say in a signature whose it is."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read a verifier key. Raises Unproven."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            kind = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise Unproven(f"{text[:60]!r} is no verifier key: its base64 can't be read") from error
        found = cls(name, kind[1:])
        if not NAME.fullmatch(name) or kind[:1] != ED25519 or len(kind) != 33 or found.key_id.hex() != key_id:
            raise Unproven(f"{text[:60]!r} is no verifier key of the form name+id+key with Ed25519")
        return found

    def signed(self, text: str, signature: bytes) -> bool:
        """Say whether the signature is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Checkpoint:
    """That a log had so many leaves and this root. `origin` names the log."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def verifier_of(name: str, key: Ed25519PrivateKey) -> Verifier:
    """Return the public half of a signing key."""
    return Verifier(name, key.public_key().public_bytes_raw())


def sign(checkpoint: Checkpoint, name: str, key: Ed25519PrivateKey) -> str:
    """Return the signed note."""
    return note_of(checkpoint.text, name, key)


def note_of(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """Sign any text that ends with its line, as a note."""
    signature = verifier_of(name, key).key_id + key.sign(text.encode())
    return f"{text}\n{DASH} {name} {base64.b64encode(signature).decode()}\n"


def opened(note: str, verifiers: Iterable[Verifier]) -> tuple[Checkpoint, Verifier]:
    """Return the checkpoint that a note is and who of the known ones signed it. Raises Unproven."""
    text, found = text_of(note, verifiers)
    origin, size, root, *_more = [*text.split("\n"), "", ""]
    if not origin or not re.fullmatch(r"0|[1-9][0-9]{0,18}", size):
        raise Unproven("it does not begin with origin and size")
    try:
        return Checkpoint(origin, int(size), base64.b64decode(root, validate=True)), found
    except binascii.Error as error:
        raise Unproven("its root can't be read") from error


def text_of(note: str, verifiers: Iterable[Verifier]) -> tuple[str, Verifier]:
    """Return what a note says and who of the known ones signed it. Raises Unproven.

    Signatures of unknown keys are passed over, as the format demands; a known key whose signature is false is not.
    """
    text, gap, signatures = note.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise Unproven("it is no signed note")
    text += "\n"
    found = None
    known = {(one.name, one.key_id): one for one in verifiers}
    for line in signatures.splitlines():
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        try:
            signature = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise Unproven("a signature can't be read") from error
        if dash != DASH or not NAME.fullmatch(name) or len(signature) < 5:
            raise Unproven("a signature can't be read")
        verifier = known.get((name, signature[:4]))
        if verifier is not None:
            if not verifier.signed(text, signature[4:]):
                raise Unproven(f"the signature of {name} is false")
            found = verifier
    if found is None:
        raise Unproven("no known key signed it")
    return text, found
