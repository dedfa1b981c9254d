"""The decision bundle: one document with the raw numbers of a decision and everything that followed from them. Pure.

`recompute` makes every line and the recommendation again from the numbers and thresholds in it; `verify` names whatever
differs, section by section. What it proves of people rests on the entries of the history that stand beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from hawkops.history.domain import chain
from monitoring.domain import criteria as criteria_domain
from monitoring.domain import numbers as raw
from monitoring.domain.criteria import Criterion
from monitoring.domain.numbers import Numbers
from rollout.domain import decision as domain
from rollout.domain import lines
from rollout.domain.decision import Recommended
from rollout.domain.lines import Measured, Part, RolledBack, Shown
from rollout.domain.validation import Clock, Critical

SCHEMA = "hawkops.decision/2"
# what was kept before devices counted: recomputed as it was judged then, each observation as one of its own
BEFORE = "hawkops.decision/1"
# sections that are digested one by one, so that a difference has a name
SECTIONS = (
    "subject",
    "thresholds",
    "numbers",
    "facts",
    "evidence",
    "flags",
    "code",
    "table",
    "lines",
    "recommended",
    "decision",
    "signatures",
)
# the verbs of the entries that prove a decision
# what is said in words, which another version of the code may say in others
WORDS = ("title", "sentence", "value", "target", "interval", "soon", "unit", "observed")
MADE, APPROVED = "decision.made", "proposal.approved"


@dataclass(frozen=True)
class Facts:
    """What a decision knows besides telemetry: its moment, its time, hours, incidents and rollbacks."""

    at: datetime
    since: datetime
    phase: int
    began_at: datetime
    needed: timedelta
    live: timedelta
    missed_most: float
    clock: Clock | None = None
    incidents: tuple[Critical, ...] = ()
    rollbacks: tuple[RolledBack, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Something in a bundle that is not what it should be: where, and why."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


def shown(facts: Facts, measured: Iterable[Measured]) -> list[Shown]:
    """Return every line, first what is no criterion."""
    return [
        lines.hours_line(facts.clock, facts.needed, facts.phase),
        lines.incidents_line(facts.incidents, facts.began_at),
        lines.rollbacks_line(facts.rollbacks, facts.began_at),
        *(lines.judged(one, now=facts.at, missed_most=facts.missed_most, live=facts.live) for one in measured),
    ]


# ---- writing ----


def document(
    facts: Facts,
    measured: Sequence[Measured],
    *,
    subject: Mapping[str, Any],
    flags: Mapping[str, Any],
    code: Mapping[str, Any],
    evidence: Mapping[str, Any],
    decision: Mapping[str, Any],
    signatures: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write a bundle. What people decided stands in `decision`, everybody's yes in `signatures`."""
    judged = shown(facts, measured)
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "subject": dict(subject),
        "thresholds": {
            "missed_most": facts.missed_most,
            "needed_seconds": facts.needed.total_seconds(),
            "criteria": [threshold(one.criterion) for one in measured],
        },
        "numbers": {one.criterion.key: raw_numbers(one) for one in measured},
        "facts": _facts(facts),
        "evidence": dict(evidence),
        "flags": dict(flags),
        "code": dict(code),
        "table": table(),
        "lines": [line(one) for one in judged],
        "recommended": recommended(domain.recommend(one.line for one in judged)),
        "decision": dict(decision),
        "signatures": [dict(one) for one in signatures],
    }
    made = json.loads(json.dumps(made, default=_plain, allow_nan=False))
    made["digests"] = {name: digest(made[name]) for name in SECTIONS}
    return made


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's one JSON text."""
    return hashlib.sha256(chain.canonical(value).encode()).hexdigest()


def whole(bundle: Mapping[str, Any]) -> str:
    """Return the digest of a bundle as the history keeps it: of everything but the proof that is added later."""
    return digest({name: value for name, value in bundle.items() if name != "proof"})


def table() -> list[dict[str, str]]:
    """Return the table of decisions as plain data."""
    return [
        {"key": row.key, "follows": row.follows.value, "when": row.when, "runbook": row.runbook} for row in domain.TABLE
    ]


def line(one: Shown, *, schema: str = SCHEMA) -> dict[str, Any]:
    """Return a line as plain data: what a page shows of it and what the table was asked about.

    `unit` is what counts as one of its own, with so many `devices` of `devices_needed`; `have` and `need` count `observed`.
    """
    said = one.line
    units = {
        "unit": one.unit,
        "observed": one.observed,
        "devices": one.devices,
        "devices_needed": one.devices_needed,
    }
    return {
        "key": said.key,
        "title": said.title,
        "nature": said.nature.value,
        "clause": said.clause.value,
        "verdict": said.verdict.value,
        "in_scope": said.in_scope,
        "sentence": said.sentence,
        "value": one.value,
        "target": one.target,
        "interval": one.interval,
        "miss": said.miss.value,
        "worse": said.worse,
        "have": one.have,
        "need": one.need,
        "soon": said.soon,
        "row": domain.row_of(said).key if said.in_scope else "",
        **(units if schema == SCHEMA else {}),
    }


def recommended(found: Recommended) -> dict[str, Any]:
    """Return a recommendation with its reasons, the weightiest first."""
    return {
        "recommendation": found.recommendation.value,
        "reasons": [{"row": one.row.key, "line": one.line.key if one.line else ""} for one in found.reasons],
    }


def threshold(one: Criterion) -> dict[str, Any]:
    """Return a criterion as plain data; of one that can't be used, why."""
    if one.broken:
        return {"key": one.key, "title": one.title, "purpose": one.purpose.value, "broken": one.broken}
    return criteria_domain.document(one)


def raw_numbers(one: Measured) -> dict[str, Any]:
    """Return the raw numbers of a criterion as plain data."""
    return {
        "all": raw.document(one.numbers),
        "parts": [
            {"label": part.label, "threshold": part.threshold, "numbers": raw.document(part.numbers)}
            for part in one.parts
        ],
        "scope": one.scope,
        "allowed": one.allowed,
        "simulated": one.simulated,
    }


def _facts(facts: Facts) -> dict[str, Any]:
    return {
        "at": facts.at,
        "since": facts.since,
        "phase": facts.phase,
        "began_at": facts.began_at,
        "live_seconds": facts.live.total_seconds(),
        "clock": asdict(facts.clock) if facts.clock is not None else None,
        "incidents": [asdict(one) for one in facts.incidents],
        "rollbacks": [asdict(one) for one in facts.rollbacks],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{value!r} can't be written")


# ---- reading ----


def facts_of(bundle: Mapping[str, Any]) -> Facts:
    """Read the facts of a bundle. Raises KeyError, TypeError or ValueError."""
    told, rules = bundle["facts"], bundle["thresholds"]
    return Facts(
        at=_moment(told["at"]),
        since=_moment(told["since"]),
        phase=int(told["phase"]),
        began_at=_moment(told["began_at"]),
        needed=timedelta(seconds=rules["needed_seconds"]),
        live=timedelta(seconds=told["live_seconds"]),
        missed_most=float(rules["missed_most"]),
        clock=_clock(told["clock"]),
        incidents=tuple(
            Critical(one["title"], _moment(one["opened_at"]), _moment_or_none(one["ended_at"]), one["address"])
            for one in told["incidents"]
        ),
        rollbacks=tuple(RolledBack(one["title"], _moment(one["at"]), one["entry"]) for one in told["rollbacks"]),
    )


def measured_of(bundle: Mapping[str, Any]) -> list[Measured]:
    """Read the criteria of a bundle with their numbers. Raises KeyError, TypeError, ValueError or Unfit."""
    found = []
    for one in bundle["thresholds"]["criteria"]:
        if "broken" in one:
            criterion = criteria_domain.unusable(
                key=one["key"], purpose=one["purpose"], title=one["title"], message=one["broken"]
            )
        else:
            criterion = criteria_domain.criterion(one)
        data = bundle["numbers"][criterion.key]
        read = _before if bundle["schema"] == BEFORE else raw.numbers_of
        parts = tuple(Part(part["label"], read(part["numbers"]), part["threshold"]) for part in data["parts"])
        found.append(
            Measured(
                criterion,
                read(data["all"]),
                parts,
                str(data["scope"]),
                bool(data["allowed"]),
                bool(data["simulated"]),
            )
        )
    return found


def _before(data: Mapping[str, Any]) -> Numbers:
    return replace(raw.numbers_of(data), by_observation=True)


def recompute(bundle: Mapping[str, Any]) -> tuple[list[Shown], Recommended]:
    """Make every line and the recommendation again from a bundle's numbers, thresholds and facts."""
    judged = shown(facts_of(bundle), measured_of(bundle))
    return judged, domain.recommend(one.line for one in judged)


def verify(bundle: Any, *, entries: Sequence[Mapping[str, Any]] = (), words: bool = True) -> list[Difference]:
    """Return everything in a bundle that is not what it should be; nothing when it holds.

    `entries` are those of an export of the history, against which its own entries are held where there are any. Without
    `words` what is only said in words is not compared: for a bundle of another version of the code.
    """
    if not isinstance(bundle, Mapping) or bundle.get("schema") not in (SCHEMA, BEFORE):
        return [Difference("schema", f"this is no decision bundle of the schema {SCHEMA} or {BEFORE}")]
    if missing := [name for name in (*SECTIONS, "digests") if name not in bundle]:
        return [Difference(name, "it is missing") for name in missing]
    digests = bundle["digests"] if isinstance(bundle["digests"], Mapping) else {}
    found = [
        Difference(name, "its content does not give the digest that stands for it")
        for name in SECTIONS
        if digest(bundle[name]) != digests.get(name)
    ]
    if _rows(bundle["table"], words) != _rows(table(), words):
        found.append(Difference("table", "it is not the table that this program decides by"))
    looks: dict[str, Callable[[Mapping[str, Any]], list[Difference]]] = {
        "numbers": partial(_recomputed, words=words),
        "signatures": _signatures,
        "proof": _proof,
    }
    for where, look in looks.items():
        try:
            found += look(bundle)
        except criteria_domain.Unfit as unfit:
            found.append(Difference("thresholds", f"a criterion can't be read: {unfit.message}"))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            found.append(Difference(where, f"a part of it can't be read: {type(error).__name__} {error}"))
    return found + _exported(bundle, entries)


def _rows(told: Any, words: bool) -> Any:
    if words or not isinstance(told, list):
        return told
    return [(one.get("key"), one.get("follows")) if isinstance(one, Mapping) else one for one in told]


def _recomputed(bundle: Mapping[str, Any], *, words: bool) -> list[Difference]:
    judged, follows = recompute(bundle)
    return _lines(bundle["lines"], judged, words, bundle["schema"]) + _recommendation(bundle, follows)


def _lines(told: Sequence[Mapping[str, Any]], judged: Sequence[Shown], words: bool, schema: str) -> list[Difference]:
    said = {one["key"]: one for one in told}
    again = {one.line.key: line(one, schema=schema) for one in judged}
    found = [Difference(f"lines: {key}", "no number speaks of it") for key in said if key not in again]
    for key, one in again.items():
        if key not in said:
            found.append(Difference(f"lines: {key}", "it is missing, though its numbers are there"))
            continue
        for name, value in one.items():
            if said[key].get(name) != value and (words or name not in WORDS):
                found.append(
                    Difference(
                        f"lines: {key}", f"{name} is {said[key].get(name)!r}; its numbers and threshold give {value!r}"
                    )
                )
    return found


def _recommendation(bundle: Mapping[str, Any], follows: Recommended) -> list[Difference]:
    told, again = bundle["recommended"], recommended(follows)
    found = []
    if told["recommendation"] != again["recommendation"]:
        why = f"it says {told['recommendation']}; the numbers give {again['recommendation']}"
        found.append(Difference("recommended", why))
    if told["reasons"] != again["reasons"]:
        found.append(Difference("recommended", "its reasons are not those that the numbers give"))
    against = follows.recommendation is not domain.Recommendation.PROCEED
    if bundle["decision"]["decided"] == domain.Decided.GO and against and not bundle["decision"]["disagrees"]:
        found.append(Difference("decision", "it goes on against the recommendation without a reason"))
    return found


def _signatures(bundle: Mapping[str, Any]) -> list[Difference]:
    """Hold each signature against the entry that the history has of it, and look that none was left out."""
    proof = bundle.get("proof")
    if proof is None:
        return [Difference("proof", "it is missing, so nothing proves who signed")]
    rows = {row["seq"]: row for row in proof["entries"]}
    found = []
    for one in bundle["signatures"]:
        row = rows.get(one["entry"])
        if row is None or row["verb"] != APPROVED:
            found.append(Difference(f"signatures: {one['by']}", "no entry of the history proves it"))
            continue
        after = json.loads(row["after"])
        same = row["actor"] == one["reference"] and after["teams"] == one["teams"]
        same = same and after["edition"] == one["edition"] and after.get("recommended") == one["saw"]
        same = same and row["subject"] == f"proposal:{bundle['decision']['proposal']}"
        if not same:
            found.append(Difference(f"signatures: {one['by']}", f"entry {row['seq']} of the history says otherwise"))
    signed = {one["entry"] for one in bundle["signatures"]}
    found += [
        Difference("signatures", f"entry {seq} is a signature that is missing here")
        for seq, row in rows.items()
        if row["verb"] == APPROVED and seq not in signed
    ]
    return found


def _proof(bundle: Mapping[str, Any]) -> list[Difference]:
    proof = bundle.get("proof")
    if proof is None:
        return []  # said by the signatures
    found, made = [], []
    for row in proof["entries"]:
        if chain.row_hash(row["previous_hash"], _row(row)) != row["hash"]:
            found.append(Difference(f"proof: entry {row['seq']}", "its content does not give its hash"))
        if row["verb"] == MADE:
            made.append(row)
    if len(made) != 1:
        return [*found, Difference("proof", "the entry of the decision is missing, or there are several")]
    after = json.loads(made[0]["after"])
    if after.get("digest") != whole(bundle):
        found.append(Difference("proof", f"entry {made[0]['seq']} of the history proves another bundle than this one"))
    told = bundle["decision"]
    if made[0]["actor"] != told["reference"] or after.get("decided") != told["decided"]:
        found.append(Difference("decision", f"entry {made[0]['seq']} of the history says otherwise"))
    head = proof["head"]
    if head["seq"] < made[0]["seq"] or (head["seq"] == made[0]["seq"] and head["hash"] != made[0]["hash"]):
        found.append(Difference("proof", "the head of the chain is not one that the decision's entry leads to"))
    return found


def _exported(bundle: Mapping[str, Any], exported: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Hold the entries of a proof, and its head, against an export of the history."""
    proof = bundle.get("proof")
    if proof is None or not exported:
        return []
    known = {one["seq"]: one["hash"] for one in exported}
    found = []
    for row in (*proof["entries"], proof["head"]):
        if row["seq"] not in known:
            found.append(Difference(f"proof: entry {row['seq']}", "it is not in the export of the history"))
        elif known[row["seq"]] != row["hash"]:
            why = "the export of the history has another one in its place"
            found.append(Difference(f"proof: entry {row['seq']}", why))
    return found


def entry(row: chain.Row, *, previous: str, own: str) -> dict[str, Any]:
    """Write an entry of the history as a proof holds it: everything that is hashed, and both hashes."""
    return {**asdict(row), "at": row.at.isoformat(), "previous_hash": previous, "hash": own}


def _row(data: Mapping[str, Any]) -> chain.Row:
    members = {name: value for name, value in data.items() if name not in ("hash", "previous_hash", "at")}
    return chain.Row(at=_moment(data["at"]), **members)


def _clock(data: Mapping[str, Any] | None) -> Clock | None:
    if data is None:
        return None
    return Clock(
        began_at=_moment(data["began_at"]),
        since=_moment_or_none(data["since"]),
        needed=timedelta(seconds=data["needed"]),
        live=timedelta(seconds=data["live"]),
        last_data_at=_moment_or_none(data["last_data_at"]),
        counted_at=_moment(data["counted_at"]),
        done_at=_moment_or_none(data["done_at"]),
        because=data["because"],
        address=data["address"],
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _moment_or_none(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None
