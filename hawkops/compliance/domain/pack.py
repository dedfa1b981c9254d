"""The compliance pack as a document: what is signed, and how somebody without the database holds it against itself.

It holds three kinds of things. Entries of the history, each with its inclusion proof under a signed checkpoint. Sections
that follow from these entries, which `verify` makes again. Sections that were measured when the pack was made, which rest
on the signature alone. Names of people stand apart from all that is signed: they may be struck out, and what is left holds.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hawkops.compliance.domain import told
from hawkops.history import exported
from hawkops.history.domain import chain, proof
from hawkops.history.domain.chain import Row
from hawkops.history.domain.checkpoint import Unproven, Verifier, opened, text_of
from hawkops.history.domain.proof import Link

SCHEMA = "hawkops.compliance/1"
# measured when the pack was made
MEASURED = ("release", "artefacts", "boxes", "incidents", "controls")
DERIVED: dict[str, Callable[[Sequence[Row], int], told.Section]] = {
    "phases": told.phases,
    "decisions": told.decisions,
    "waivers": told.waivers,
    "acts": lambda rows, _release: told.acts(rows),
    "interventions": lambda rows, _release: told.interventions(rows),
    "roles": lambda rows, _release: told.roles(rows),
}
SECTIONS = (*MEASURED, *DERIVED)


class Unreadable(ValueError):
    """The file is no compliance pack; the message says why."""


class Unfit(Exception):
    """The first thing in a pack that is not what it should be."""


@dataclass
class Findings:
    """What a verification found: what does not fit first, or how far the pack is proven and by whom."""

    unfit: str = ""
    entries: int = 0
    checkpoint_size: int = 0
    signers: set[str] = field(default_factory=set)
    names: int = 0
    nameless: int = 0


def derived(rows: Sequence[Row], release: int) -> dict[str, told.Section]:
    """Return the sections that follow from the entries."""
    return {name: make(rows, release) for name, make in DERIVED.items()}


def signed_text(document: Mapping[str, Any]) -> str:
    """Return what the signature covers: whose pack it is, and the digest of every section. No name of a person is in it."""
    lines = [
        f"{SCHEMA} {document['origin']}",
        f"{document['environment']} {document['release']} {document['at']}",
        *(f"{name} {digest(document['sections'].get(name))}" for name in SECTIONS),
        f"entries {digest([[one['seq'], one['hash']] for one in document['entries']])}",
        f"checkpoint {digest(document['checkpoint'])}",
    ]
    return "\n".join(lines) + "\n"


def digest(value: Any) -> str:
    """Return the SHA-256 of a value in its canonical form."""
    return hashlib.sha256(chain.canonical(value).encode()).hexdigest()


def verify(document: Mapping[str, Any], *, keys: Iterable[Verifier] = ()) -> Findings:
    """Hold a pack against itself. Keys given count alone; else those the pack names. Raises Unreadable."""
    found = Findings()
    if document.get("schema") != SCHEMA:
        raise Unreadable(f"a pack begins with its schema, {SCHEMA}")
    try:
        known = list(keys) or [Verifier.parse(str(one)) for one in document["verifiers"]]
        links = [(exported.read(one), [bytes.fromhex(node) for node in one["proof"]]) for one in document["entries"]]
        for check in (_checkpoint, _entries, _sections, _signature):
            check(document, links, known, found)
    except Unfit as unfit:
        found.unfit = str(unfit)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"it is not whole: {error!r}") from error
    return found


Links = Sequence[tuple[Link, list[bytes]]]


def _checkpoint(document: Mapping[str, Any], _links: Links, known: list[Verifier], found: Findings) -> None:
    try:
        checkpoint, signer = opened(document["checkpoint"], known)
    except Unproven as error:
        raise Unfit(f"The checkpoint proves nothing: {error}.") from error
    if checkpoint.origin != document["origin"]:
        raise Unfit(f"The checkpoint is of {checkpoint.origin}, the pack of {document['origin']}.")
    found.checkpoint_size = checkpoint.size
    found.signers.add(signer.name)


def _entries(document: Mapping[str, Any], links: Links, known: list[Verifier], found: Findings) -> None:
    checkpoint = opened(document["checkpoint"], known)[0]
    last = 0
    for link, path in links:
        seq = link.row.seq
        if seq <= last:
            raise Unfit(f"Entry {seq} stands after entry {last}.")
        if why := proof.unfit(link, path, checkpoint):
            raise Unfit(f"{why[0].upper()}{why[1:]}.")
        last, found.entries = seq, found.entries + 1
        if link.label is None:
            found.nameless += 1
        else:
            found.names += 1


def _sections(document: Mapping[str, Any], links: Links, _known: list[Verifier], _found: Findings) -> None:
    rows, sections = [link.row for link, _path in links], document["sections"]
    for name, made in derived(rows, int(document["release"])).items():
        if chain.canonical(made) != chain.canonical(sections.get(name)):
            raise Unfit(f"The section {name} is not what the entries say: {_difference(made, sections.get(name))}.")
    there = {row.seq for row in rows}
    for name in MEASURED:
        for seq in _named(sections.get(name)):
            if seq not in there:
                raise Unfit(f"The section {name} names entry {seq}, which is not in the pack.")


def _difference(made: told.Section, said: Any) -> str:
    if not isinstance(said, list):
        return "it is missing"
    for index, one in enumerate(made):
        if index >= len(said):
            return f"line {index + 1} is missing, of entry {one.get('entry')}"
        if chain.canonical(one) != chain.canonical(said[index]):
            return f"line {index + 1} differs, of entry {one.get('entry')}"
    return f"line {len(made) + 1} has no entry behind it"


def _named(value: Any) -> Iterator[int]:
    """Give the entries that a section rests on."""
    if isinstance(value, dict):
        if isinstance(value.get("entry"), int):
            yield value["entry"]
        for one in value.values():
            yield from _named(one)
    elif isinstance(value, list):
        for one in value:
            yield from _named(one)


def _signature(document: Mapping[str, Any], _links: Links, known: list[Verifier], found: Findings) -> None:
    try:
        said, signer = text_of(document["signature"], known)
    except Unproven as error:
        raise Unfit(f"The signature proves nothing: {error}.") from error
    wanted = signed_text(document).splitlines()
    for index, line in enumerate(said.splitlines()):
        if index >= len(wanted) or wanted[index] != line:
            what = line.partition(" ")[0] if index > 1 else "head"
            raise Unfit(f"The section {what} is not the one that {signer.name} signed.")
    if len(said.splitlines()) != len(wanted):
        raise Unfit(f"Not every section was signed by {signer.name}.")
    found.signers.add(signer.name)


def read(text: str) -> dict[str, Any]:
    """Read a file. Raises Unreadable."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Unreadable("it is no JSON object")
    return found


def sentences(found: Findings, document: Mapping[str, Any], *, trusted: bool) -> Iterator[str]:
    """Say what was proven, and what was not."""
    if found.unfit:
        yield found.unfit
        return
    yield (
        f"The pack of release {document['release']} in {document['environment']} holds: {found.entries} entries give "
        f"their hashes and stand in the history of {found.checkpoint_size} entries that {', '.join(sorted(found.signers))}"
        " signed."
    )
    yield f"Made again from the entries, and the same: {', '.join(DERIVED)}."
    yield f"Measured when it was made, and standing on the signature: {', '.join(MEASURED)}."
    if found.nameless:
        yield f"{found.nameless} of the entries name nobody any more; their proof stands without."
    if not trusted:
        yield "The keys are those the pack names itself: give --key with one you had from elsewhere."
    yield LIMIT


LIMIT = (
    "The proof shows that these entries stand in the signed history unaltered. That none is left out, only the whole "
    "history shows (manage.py history_export). Whoever holds the signing key could have signed another history: a witness "
    "outside the database is who would notice."
)
