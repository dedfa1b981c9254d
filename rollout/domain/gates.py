"""What a box of the checklist says: evidence, a person's tick and the release's subject, combined into one verdict.

Rule of the house: what was measured on a synthetic model, on the dashboard's own host or by simulated devices speaks in
`demo` only. Evidence is bound to its subject and expires.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hawkops.core.verdicts import Verdict, worst
from hawkops.core.why import Why
from rollout.domain.runbook import Box, Limit

DEMO = "demo"
# a member of a subject: no device in its audience has what the box judges
OUT_OF_SCOPE = "out_of_scope"


@dataclass(frozen=True)
class Subject:
    """What the release is now: evidence that covers something else no longer counts."""

    environment: str
    model_digest: str
    flag_revision: int
    # the scripts' programs as they are, by name: their SHA-256
    programs: Mapping[str, str] = field(default_factory=dict)
    # which validation is under way; empty without one
    validation: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a check found, when, about what, and until when it speaks."""

    verdict: Verdict
    sentence: str
    subject: Mapping[str, Any]
    at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Measured:
    """What a line rests on, as people read it: the value, its target, how many samples there are and how many it takes.

    `points` are the value over the time that was read, in equal steps; `bound` is the target on the same scale.
    """

    value: str
    target: str
    have: int
    need: int
    points: tuple[float | None, ...] = ()
    bound: float | None = None
    criterion: str = ""


@dataclass(frozen=True)
class Line:
    """One sub-result: what was wanted, what was measured, what that is worth. Without verdict it is out of scope."""

    title: str
    verdict: Verdict | None
    sentence: str
    measured: Measured | None = None
    why: Why | None = None


@dataclass(frozen=True)
class Finding:
    """What a check says now. `measured_at` is None for now; `expires_at` None leaves the box's own span."""

    verdict: Verdict
    sentence: str
    subject: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    source: str = ""
    measured_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Tick:
    """A person's word on a box."""

    ticked: bool
    by: str
    at: datetime
    note: str = ""
    link: str = ""


class Basis(StrEnum):
    """What a verdict stands on."""

    EVIDENCE = "evidence"
    ATTESTATION = "attestation"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Standing:
    """The verdict of one box with its sentence."""

    verdict: Verdict
    sentence: str
    basis: Basis
    synthetic: bool = False
    at: datetime | None = None
    expires_at: datetime | None = None
    # false where nobody has what it judges, as fresh evidence says: then it is no part of the verdict
    in_scope: bool = True

    @property
    def passes(self) -> bool:
        """Only PASS lets a release advance."""
        return self.verdict is Verdict.PASS


def stand(box: Box, *, evidence: Evidence | None, tick: Tick | None, subject: Subject, now: datetime) -> Standing:
    """Say where a box stands. A box that ticks itself hears its evidence only; any other hears a person only."""
    if box.automatic:
        return _by_evidence(box, evidence, subject, now)
    return _by_person(box, tick, now)


def _by_evidence(box: Box, evidence: Evidence | None, subject: Subject, now: datetime) -> Standing:
    if evidence is None:
        return Standing(Verdict.NO_DATA, "Not checked yet.", Basis.NOTHING)
    said = Standing(
        evidence.verdict,
        evidence.sentence,
        Basis.EVIDENCE,
        synthetic=bool(unreal(evidence.subject)),
        at=evidence.at,
        expires_at=evidence.expires_at,
    )
    if evidence.verdict is Verdict.NO_DATA:
        absent = evidence.subject.get(OUT_OF_SCOPE) is True
        return replace(
            said, in_scope=not absent or bool(_moved(evidence.subject, subject)) or now >= evidence.expires_at
        )
    if reason := wrong_subject(evidence.subject, subject.environment):
        return replace(said, verdict=Verdict.NO_DATA, sentence=f"Wrong subject: {reason}. {evidence.sentence}")
    if moved := _moved(evidence.subject, subject):
        return replace(said, verdict=Verdict.STALE, sentence=f"{moved}. {evidence.sentence}")
    if now >= evidence.expires_at:
        old = f"Good for {span(box.valid_for)}, and older than that."
        return replace(said, verdict=Verdict.STALE, sentence=f"{old} {evidence.sentence}")
    return said


def rightful(finding: Finding, environment: str) -> Finding:
    """Turn what was found on the wrong subject into NO_DATA before it is ever kept."""
    reason = wrong_subject(finding.subject, environment)
    if not reason or finding.verdict is Verdict.NO_DATA:
        return finding
    return replace(finding, verdict=Verdict.NO_DATA, sentence=f"Wrong subject: {reason}. {finding.sentence}")


def _by_person(box: Box, tick: Tick | None, now: datetime) -> Standing:
    waits = f"Comes with {box.comes_with}; until then a person ticks it." if box.comes_with else "A person ticks it."
    if tick is None:
        return Standing(Verdict.NO_DATA, waits, Basis.NOTHING)
    if not tick.ticked:
        why = f": {tick.note}" if tick.note else ""
        return Standing(Verdict.NO_DATA, f"Unticked by {tick.by}{why}. {waits}", Basis.ATTESTATION, at=tick.at)
    expires_at = tick.at + box.valid_for
    words = tick.note or "see the link"
    if now >= expires_at:
        sentence = f"Attested by {tick.by}, good for {span(box.valid_for)}, and older than that: {words}"
        return Standing(Verdict.STALE, sentence, Basis.ATTESTATION, at=tick.at, expires_at=expires_at)
    return Standing(
        Verdict.PASS, f"Attested by {tick.by}: {words}", Basis.ATTESTATION, at=tick.at, expires_at=expires_at
    )


def unreal(subject: Mapping[str, Any]) -> list[str]:
    """List what makes a subject speak in `demo` only; empty for a real one."""
    found = []
    if subject.get("synthetic"):
        found.append("synthetic model")
    if subject.get("target") == "host":
        found.append(f"{machine(subject)} host")
    if subject.get("emulated"):
        found.append("software-emulated GPU")
    if subject.get("simulated"):
        found.append(str(subject.get("simulated_what") or "simulated devices"))
    return found


def wrong_subject(subject: Mapping[str, Any], environment: str) -> str:
    """Say why evidence may not count in this environment; empty when it may."""
    return "" if environment == DEMO else ", ".join(unreal(subject))


def machine(subject: Mapping[str, Any]) -> str:
    """Name the host's architecture: `linux x86_64, 2 cores` is an x86 host."""
    host = str(subject.get("host", ""))
    if "x86" in host or "amd64" in host:
        return "x86"
    return "ARM" if "arm" in host or "aarch64" in host else "dashboard"


def _moved(covered: Mapping[str, Any], subject: Subject) -> str:
    """Say what changed under the evidence; empty when nothing did."""
    digest = str(covered.get("model_digest", ""))
    if digest and digest != subject.model_digest:
        return f"It covered model {short(digest)}, the release has {short(subject.model_digest)}"
    revision = covered.get("flag_revision")
    if isinstance(revision, int) and revision != subject.flag_revision:
        return f"It covered flag revision {revision}, the flags are at {subject.flag_revision}"
    validation = covered.get("validation")
    if isinstance(validation, str) and validation != subject.validation:
        return f"It covered {validation}, under way is {subject.validation or 'none'}"
    for name, ran in (covered.get("programs") or {}).items():
        if subject.programs.get(name, ran) != ran:
            return f"{name} has been changed since it ran"
    return ""


def short(digest: str) -> str:
    """Return the first eight digits of a digest."""
    return digest.removeprefix("sha256:")[:8]


def span(value: timedelta) -> str:
    """Say how long evidence is good for."""
    minutes = int(value.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def measured(title: str, value: float | None, limit: Limit, *, unit: str, lack: str = "", failed: bool = False) -> Line:
    """Judge one measurement in base units against its limit."""
    if value is None:
        return Line(title, Verdict.FAIL if failed else Verdict.NO_DATA, lack or "not measured")
    goal = bound(limit, unit)
    sentence = f"{amount(value, unit)}, wanted {goal}" if goal else amount(value, unit)
    return Line(title, Verdict.PASS if limit.kept(value) else Verdict.FAIL, sentence)


def bound(limit: Limit, unit: str) -> str:
    """Say a limit: `≥ 243 tok/s`, `< 500 ms`; empty when there is none."""
    parts = []
    if limit.at_least is not None:
        parts.append(f"≥ {amount(limit.at_least, unit)}")
    if limit.below is not None:
        parts.append(f"< {amount(limit.below, unit)}")
    return " and ".join(parts)


def amount(value: float, unit: str) -> str:
    """Write a value in the unit people use. Throughput is rounded down and costs up: rounding never beautifies."""
    if unit == "By":
        return f"{grouped(_up(value / 1e6))} MB"
    if unit == "s":
        return f"{grouped(_up(value * 1000))} ms" if value < 1 else f"{_up(value * 100) / 100:g} s"
    if unit == "{token}/s":
        return f"{grouped(math.floor(value))} tok/s"
    return f"{grouped(value)} {unit}".strip()


def _up(value: float) -> int:
    return math.ceil(round(value, 6))


def grouped(value: float) -> str:
    """Write 1262.4 as 1 262, small numbers with two digits."""
    if value and abs(value) < 10 and value != int(value):
        return f"{value:.2g}"
    return f"{value:,.0f}".replace(",", "\u202f")


def together(lines: Iterable[Line]) -> Verdict:
    """Return the worst verdict in scope; nothing in scope is NO_DATA, never a pass."""
    return worst([line.verdict for line in lines if line.verdict is not None])


def headline(counts: Mapping[Verdict, int]) -> str:
    """Say the whole checklist in one sentence: `7 of 22 pass; 1 fails, 9 have no data`."""
    total = sum(counts.values())
    passed = counts.get(Verdict.PASS, 0)
    if passed == total:
        return f"All {total} pass"
    words = {
        Verdict.FAIL: ("fails", "fail"),
        Verdict.ERROR: ("could not be checked", "could not be checked"),
        Verdict.STALE: ("is stale", "are stale"),
        Verdict.INSUFFICIENT: ("has too little data", "have too little data"),
        Verdict.NO_DATA: ("has no data", "have no data"),
    }
    rest = [f"{counts[v]} {one if counts[v] == 1 else many}" for v, (one, many) in words.items() if counts.get(v)]
    return f"{passed} of {total} pass; {', '.join(rest)}"
