"""Gathering a release's compliance pack: which entries are its own, what is measured now, and the proof over it all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from hawkops.accounts.models import User
from hawkops.compliance.domain import pack
from hawkops.compliance.domain.told import GRANTED, TEAMED
from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history import listing, selectors
from hawkops.history.domain.chain import Row
from hawkops.history.domain.checkpoint import note_of
from hawkops.history.domain.query import Query, Term
from hawkops.history.keys import signing_key
from hawkops.history.models import Checkpoint, HistoryEntry
from hawkops.history.proving import proven
from hawkops.scripts.checks import compliance
from hawkops.scripts.models import Run
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Exit
from incidents.models import Incident
from rollout.domain.gates import Basis
from rollout.models import Proposal, Release
from rollout.selectors import releases

STANDARDS = ("SOC2", "GDPR")
# what happened to the flags of the release's environment while it was there
AROUND = ("flag.", "rollback.", "lockdown.", "freeze.", "break_glass.", "drill.")
# beyond this a file is no file for a person any more
ENTRIES_MOST = 50_000
VERIFIED_FOR = timedelta(hours=25)
VERDICTS = {Exit.PASSED: "PASS", Exit.FAILED: "FAIL", Exit.UNMEASURED: "NO_DATA", None: "OUT_OF_SCOPE"}


@dataclass
class Gathered:
    """What is known of a release: its entries, oldest first, and every section of the pack."""

    release: Release
    at: datetime
    since: datetime
    until: datetime
    ended: bool
    entries: list[HistoryEntry] = field(default_factory=list)
    sections: dict[str, Any] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None

    @property
    def unproven(self) -> int:
        """How many entries are younger than the last checkpoint."""
        size = self.checkpoint.size if self.checkpoint else 0
        return sum(one.seq > size for one in self.entries)


def gathered(release: Release) -> Gathered:
    """Read everything that the pack of a release holds, but for the proofs. Raises InvalidInput beyond `ENTRIES_MOST`."""
    now = clock.now()
    ended = HistoryEntry.objects.filter(subject=f"release:{release.pk}", verb="release.superseded").first()
    until = ended.at if ended else now
    found = Gathered(release, now, release.created_at, until, ended is not None)
    found.entries = _entries(found)
    rows = [one.row() for one in found.entries]
    found.sections = {
        "release": _release(found),
        "artefacts": _artefacts(found),
        "boxes": _boxes(found),
        "incidents": _incidents(found),
        "controls": [
            _control(one) for one in compliance.judged_controls(STANDARDS, instead={"history_verifies": _verified})
        ],
        **pack.derived(rows, release.pk),
    }
    found.people = _people(found.entries, rows)
    found.checkpoint = selectors.checkpoint_latest()
    return found


def document(release: Release) -> dict[str, Any]:
    """Return the signed pack, every entry with its inclusion proof. Signs a checkpoint first, so that it covers them all.

    Raises as `proven`.
    """
    found = gathered(release)
    shown = proven([one.seq for one in found.entries])
    made: dict[str, Any] = {
        "schema": pack.SCHEMA,
        "origin": shown.origin,
        "environment": release.environment,
        "release": release.pk,
        "at": found.at.isoformat(timespec="microseconds"),
        "limit": pack.LIMIT,
        "verify": "python verify_compliance.pyz FILE --key VERIFIER, or manage.py compliance_verify FILE",
        "verifiers": list(shown.verifiers),
        "checkpoint": shown.note,
        "sections": found.sections,
        "people": found.people,
        "entries": [shown.written(one) for one in found.entries],
    }
    made["signature"] = note_of(pack.signed_text(made), shown.origin, signing_key())
    return made


# ---- which entries ----


def _entries(found: Gathered) -> list[HistoryEntry]:
    release, where = found.release, found.release.environment
    head = selectors.head().seq
    own = ("phase", "check", "decision", "step", "guardrail")
    subjects = [f"release:{release.pk}", f"runbook:{release.runbook.version}"]
    subjects += [f"{noun}:{release.pk}:" for noun in own]
    subjects += [f"proposal:{pk}" for pk in _proposals(found).values_list("pk", flat=True)]
    subjects += [f"incident:{pk}" for pk in _incident_rows(found).values_list("pk", flat=True)]
    subjects += [f"run:{pk}" for pk in _runs(release).values_list("pk", flat=True)]
    asked = [
        Query((Term("subject", tuple(subjects)), Term("hidden", ("yes",)))),
        Query((Term("verb", AROUND),), found.since, found.until),
        Query((Term("verb", (*GRANTED, TEAMED)),), None, found.until),
    ]
    taken: dict[int, HistoryEntry] = {}
    for query in asked:
        _take(taken, listing.stream(listing.asked(query, environment=where, readable=[where]), until_seq=head))
    tokens = sorted({one.actor.partition(":")[2] for one in taken.values() if one.actor.startswith("token:")})
    if tokens:
        made = HistoryEntry.objects.select_related("personal").filter(
            subject__in=[f"api_token:{pk}" for pk in tokens], verb="token.created"
        )
        _take(taken, made)
    return [taken[seq] for seq in sorted(taken)]


def _take(taken: dict[int, HistoryEntry], entries: Iterable[HistoryEntry]) -> None:
    for one in entries:
        taken[one.seq] = one
        if len(taken) > ENTRIES_MOST:
            raise InvalidInput(
                f"The release has more than {ENTRIES_MOST} entries. Export the whole history: manage.py history_export."
            )


def _proposals(found: Gathered) -> Any:
    during = Q(made_at__lt=found.until) & (Q(ended_at=None) | Q(ended_at__gte=found.since))
    return Proposal.objects.filter(during, environment=found.release.environment).order_by("pk")


def _incident_rows(found: Gathered) -> Any:
    during = Q(opened_at__lt=found.until) & (Q(resolved_at=None) | Q(resolved_at__gte=found.since))
    rows = Incident.objects.filter(during | Q(releases=found.release), environment=found.release.environment)
    return rows.distinct().order_by("pk")


def _runs(release: Release) -> Any:
    return Run.objects.filter(environment=release.environment, subject__release=release.pk).order_by("pk")


# ---- what is measured ----


def _release(found: Gathered) -> dict[str, Any]:
    one = found.release
    return {
        "release": one.pk,
        "name": one.name,
        "app_version": one.app_version,
        "version_code": one.version_code,
        "backends": list(one.backends),
        "runbook": one.runbook.version,
        "running": one.running,
        "since": found.since.isoformat(),
        "until": found.until.isoformat() if found.ended else None,
        **_entry(found, f"release:{one.pk}", first=True),
    }


def _entry(found: Gathered, subject: str, *, first: bool = False, verbs: Sequence[str] = ()) -> dict[str, Any]:
    """Say which entry stands behind something: the last of its subject, or the first, and who made it."""
    rows = [one for one in found.entries if one.subject == subject and (not verbs or one.verb in verbs)]
    if not rows:
        return {"entry": None, "by": None}
    one = rows[0] if first else rows[-1]
    return {"entry": one.seq, "by": one.actor}


def _artefacts(found: Gathered) -> list[dict[str, Any]]:
    """List what the release consists of and what was found of it, each with its SHA-256."""
    release, book = found.release, found.release.runbook
    model = _entry(found, f"release:{release.pk}", verbs=("release.created", "release.model_changed"))
    listed = [
        _artefact("model", release.model_name, release.model_digest, model),
        _artefact("runbook", book.version, book.digest, _entry(found, f"runbook:{book.version}")),
    ]
    by_digest = {
        str((one.after or {}).get("digest")): {"entry": one.seq, "by": one.actor}
        for one in found.entries
        if one.verb == "scan.uploaded"
    }
    nobody = {"entry": None, "by": None}
    listed += [
        _artefact("security scan", scan.tool, scan.digest, by_digest.get(scan.digest, nobody))
        for scan in release.scans.order_by("pk")
    ]
    listed += [
        _artefact("decision bundle", f"decision {one.pk}", one.digest, _entry(found, f"decision:{release.pk}:{one.pk}"))
        for one in release.decisions.order_by("pk").defer("bundle_text")
    ]
    for run in _runs(release).prefetch_related("files"):
        behind = _entry(found, f"run:{run.pk}")
        if run.program_sha256:
            listed.append(_artefact("program", f"{run.script}, run {run.pk}", run.program_sha256, behind))
        listed += [
            _artefact("evidence file", f"{one.name}, run {run.pk}", one.sha256, behind) for one in run.files.all()
        ]
    return listed


def _artefact(what: str, name: str, digest: str, behind: dict[str, Any]) -> dict[str, Any]:
    return {"what": what, "name": name, "sha256": digest.removeprefix("sha256:"), **behind}


def _boxes(found: Gathered) -> list[dict[str, Any]]:
    """List every box as it stands; what a person attested names the entry instead of the person."""
    release = found.release
    listed = []
    for group in [*releases.checklist(release), *releases.after_phases(release)]:
        for row in group.rows:
            standing, attested = row.standing, row.standing.basis is Basis.ATTESTATION
            sentence = (row.word.note if row.word else "") if attested else standing.sentence
            listed.append(
                {
                    "group": group.title,
                    "box": row.box.key,
                    "title": row.box.title,
                    "verdict": standing.verdict.value if standing.in_scope else "OUT_OF_SCOPE",
                    "basis": standing.basis.value,
                    "sentence": sentence,
                    "at": standing.at.isoformat() if standing.at else None,
                    "expires_at": standing.expires_at.isoformat() if standing.expires_at else None,
                    "waived_until": row.waiver.expires_at.isoformat() if row.waiver else None,
                    **_entry(
                        found,
                        f"check:{release.pk}:{row.box.key}",
                        verbs=("check.ticked", "check.unticked") if attested else ("evidence.recorded",),
                    ),
                }
            )
    return listed


def _incidents(found: Gathered) -> list[dict[str, Any]]:
    """List incidents of the environment in the release's time, and those it was named in, with their reviews."""
    rows = _incident_rows(found).select_related("review").prefetch_related("tasks")
    return [
        {
            "incident": one.pk,
            "title": one.title,
            "severity": one.severity,
            "state": one.state,
            "simulated": one.simulated,
            "began_at": one.began_at.isoformat(),
            "opened_at": one.opened_at.isoformat(),
            "resolved_at": one.resolved_at.isoformat() if one.resolved_at else None,
            "review": _review(one),
            "tasks": [
                {"title": task.title, "blocks": task.blocks, "done": bool(task.done_at)} for task in one.tasks.all()
            ],
            **_entry(found, one.subject, first=True),
        }
        for one in rows
    ]


def _review(one: Incident) -> dict[str, Any] | None:
    review = getattr(one, "review", None)
    if review is None:
        return None
    return {
        "drafted_at": review.drafted_at.isoformat(),
        "edition": review.edition,
        "summary": review.summary,
        "causes": review.causes,
        "lessons": review.lessons,
    }


def _control(one: compliance.Control) -> dict[str, Any]:
    return {
        "standard": one.standard,
        "id": one.id,
        "title": one.title,
        "verdict": VERDICTS[one.finding.outcome] if one.finding else "OUTSIDE",
        "sentence": one.finding.sentence if one.finding else one.outside,
        "evidence": [
            {"title": fact.title, "verdict": VERDICTS[fact.outcome], "sentence": fact.sentence} for fact in one.evidence
        ],
    }


def _verified() -> Finding:
    """What the verifier found last; walking a long history anew is not for a page."""
    last = selectors.verification_latest()
    if last is None or clock.now() - last.at > VERIFIED_FOR:
        return unmeasured("History", "it was not verified in the last day: press “Verify now” on the history's page")
    if not last.good:
        return failed("History", f"breaks at entry {last.bad_seq}: {last.why}")
    return passed("History", f"{last.head_seq} entries verified at {last.at:%Y-%m-%d %H:%M} UTC")


# ---- names, apart from what is signed ----


def _people(entries: Iterable[HistoryEntry], rows: Iterable[Row]) -> dict[str, str]:
    """Return what the actors were called last, as far as that was not erased."""
    found = {one.actor: one.actor_label for one in entries if getattr(one, "personal", None)}
    wanted = {one.subject for one in rows if one.subject.startswith("person:")} - found.keys()
    return {**found, **dict(_usernames(wanted))}


def _usernames(references: Iterable[str]) -> Iterator[tuple[str, str]]:
    numbers = [int(one.partition(":")[2]) for one in references if one.partition(":")[2].isdecimal()]
    for pk, username in User.objects.filter(pk__in=numbers).values_list("pk", "username"):
        yield f"person:{pk}", username
