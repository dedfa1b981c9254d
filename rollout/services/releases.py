"""Writes on releases: imported runbooks, new releases, people's ticks, and what checks found."""

import re
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.jobs import Job
from hawkops.core.verdicts import Verdict
from hawkops.fleet import model as synthetic
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from hawkops.scripts.models import Run
from hawkops.scripts.services import run_request
from rollout.domain import gates
from rollout.domain.adoption import State
from rollout.domain.runbook import Box
from rollout.models import Attestation, Evidence, PhaseRun, Proposal, Release, ReleaseComment, RunbookVersion
from rollout.runbook.loading import load
from rollout.selectors.releases import measured_in, runbook, runbook_latest
from rollout.services.locking import reason_given

EVIDENCE_REFRESH = Job("rollout.evidence_refresh", "critical")
CHECKER = Actor.rule("evidence")
BACKENDS = ("cpu", "gpu", "npu")
DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
VERSION_CODE_MOST = 2_100_000_000  # Google Play's own limit
BY_ITSELF = "“{}” ticks itself from evidence, so it can't be ticked by hand. Ask for a waiver, or for its check to run."


def runbook_import(*, actor: Actor) -> RunbookVersion:
    """Import the bundled runbook; a text that was corrected since is taken over with an entry of its own.

    It is adopted at installation only: where people have versions of their own, another bundled one begins as a draft,
    and a version that people wrote or adopted is left alone.
    """
    loaded = load()
    counts = {
        "boxes": loaded.runbook.boxes_total,
        "phases": len(loaded.runbook.phases),
        "digest": loaded.digest,
    }
    with change(actor=actor, reason="Installation") as this:
        version = loaded.runbook.version
        found = RunbookVersion.objects.select_for_update(no_key=True).filter(version=version).first()
        if found is not None:
            peoples = bool(found.makers) or (found.adopted and found.approvals.exists())
            if peoples or (found.digest == loaded.digest and found.text):
                return found
        verb, before = "runbook.imported", None
        if found is None:
            found = RunbookVersion(version=version, made_by=actor.label)
            if not RunbookVersion.objects.exists():
                found.state, found.adopted_at = State.ADOPTED.value, clock.now()
        else:
            verb, before = "runbook.corrected", {"digest": found.digest}
            found.approvals.all().delete()  # they spoke of another text
        found.document, found.text, found.digest = loaded.document, loaded.text, loaded.digest
        found.imported_at = clock.now()
        found.save()
        this.record(verb, subject=f"runbook:{version}", before=before, after={**counts, "state": found.state})
    return found


def release_seed(*, actor: Actor) -> None:
    """Give `demo` a release for the local device, once."""
    if Release.objects.filter(environment=Environment.DEMO.value).exists():
        return
    release_create(
        environment=Environment.DEMO.value,
        name="Local device",
        app_version="0.1.0-demo",
        version_code="1",
        model_name=synthetic.NAME,
        model_digest=synthetic.SHA256,
        backends=["cpu"],
        actor=actor,
        reason="Installation",
    )


def release_create(
    *,
    environment: str,
    name: str,
    app_version: str,
    version_code: str,
    model_name: str,
    model_digest: str,
    backends: list[str],
    actor: Actor,
    supersede: bool = False,
    reason: str = "",
    request_id: str = "",
) -> Release:
    """Begin a release's walk; it pins the newest adopted runbook.

    One release walks in an environment at a time: another one is ended only by the explicit act `supersede`.
    """
    if not name.strip() or not app_version.strip() or not model_name.strip():
        raise InvalidInput("A release needs a name, an app version and a model.")
    code = version_code.strip()
    if not code.isdecimal() or not 0 < int(code) <= VERSION_CODE_MOST:
        raise InvalidInput("The version code is a whole number above 0, as in the app's manifest.")
    digest = _digest_checked(model_digest)
    declared = [backend for backend in BACKENDS if backend in backends]
    if not declared or len(declared) != len(set(backends)):
        raise InvalidInput("Declare the backends the release uses: cpu, gpu, npu.")
    pinned = runbook_latest()
    if pinned is None:
        raise NotFound("No runbook is adopted yet. Run `manage.py seed`, which imports the first.")
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        running = Release.objects.select_for_update(no_key=True).filter(environment=environment, running=True).first()
        if running is not None:
            if not supersede:
                raise Conflict(
                    f"{running.name} {running.app_version} is under way in {environment}. "
                    "Say that the new release supersedes it, or leave it."
                )
            running.running = False
            running.save(update_fields=["running"])
            _walk_ended(running, this)
            this.record(
                "release.superseded",
                subject=f"release:{running.pk}",
                before={"running": True},
                after={"running": False, "by": f"{name.strip()} {app_version.strip()}"},
            )
        release = Release.objects.create(
            environment=environment,
            name=name.strip()[:80],
            app_version=app_version.strip()[:40],
            version_code=int(code),
            model_name=model_name.strip()[:80],
            model_digest=digest,
            backends=declared,
            runbook=pinned,
            created_by=actor.label,
            created_at=clock.now(),
        )
        this.record(
            "release.created",
            subject=f"release:{release.pk}",
            after={"name": release.name, **release.subject, "runbook": pinned.version},
        )
        EVIDENCE_REFRESH.enqueue(release_id=release.pk, at_once=True)
    return release


def release_model_set(
    *, release: Release, model_name: str, model_digest: str, actor: Actor, reason: str, request_id: str = ""
) -> bool:
    """Give a release under way another model; False when it has that one.

    Evidence of the model before is stale with that, so nothing rises until it is renewed, and whoever said yes to
    something of this release must look again. Devices keep what they are served.
    """
    name, digest = model_name.strip()[:80], _digest_checked(model_digest)
    if not name:
        raise InvalidInput("Say which model it is.")
    with change(
        actor=actor, environment=release.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        # an approved proposal locks itself first, then the release
        waiting = list(
            Proposal.objects.select_for_update(no_key=True).filter(
                environment=release.environment, state="open", payload__release=release.pk
            )
        )
        found = Release.objects.select_for_update(no_key=True, of=("self",)).get(pk=release.pk)
        if not found.running:
            raise Conflict(f"{found.name} {found.app_version} is superseded; its walk is over.")
        before = {"model_name": found.model_name, "model_digest": found.model_digest}
        after = {"model_name": name, "model_digest": digest}
        if before == after:
            return False
        found.model_name, found.model_digest = name, digest
        found.save(update_fields=["model_name", "model_digest"])
        this.record("release.model_changed", subject=f"release:{found.pk}", before=before, after=after)
        for proposal in waiting:
            fell = proposal.approvals.filter(fell_at=None).update(fell_at=clock.now())
            if fell:
                proposal.edition += 1
                proposal.save(update_fields=["edition"])
                this.record("proposal.approvals_fell", subject=f"proposal:{proposal.pk}", after={"fell": fell})
        EVIDENCE_REFRESH.enqueue(release_id=found.pk, at_once=True)
    release.model_name, release.model_digest = name, digest
    return True


def _digest_checked(text: str) -> str:
    digest = DIGEST.fullmatch(text.strip().lower())
    if digest is None:
        raise InvalidInput("The model digest is its SHA-256: 64 hexadecimal digits. `sha256sum` prints it.")
    return f"sha256:{digest[1]}"


def _walk_ended(release: Release, this: Change) -> None:
    """End the phase under way of a superseded release: its devices keep what they have, and nothing rises any more."""
    for run in PhaseRun.objects.select_for_update(no_key=True).filter(release=release, state__in=["running", "paused"]):
        was = run.state
        run.state, run.ended_at, run.next_at, run.paused_at, run.held = "aborted", clock.now(), None, None, ""
        run.save()
        this.record(
            "phase.aborted",
            subject=f"phase:{release.pk}:{run.number}",
            before={"state": was},
            after={"state": "aborted", "because": "superseded"},
        )


def check_tick(
    *, release: Release, box: str, ticked: bool, note: str, link: str, actor: Actor, request_id: str = ""
) -> bool:
    """Record a person's word on a box; False when it already says so. A box that ticks itself refuses."""
    found = _box(release, box)
    if found.automatic:
        raise InvalidInput(BY_ITSELF.format(found.title))
    note, link = note.strip().replace("\x00", "")[:500], link.strip()
    if ticked and not (note or link):
        raise InvalidInput("Say what you saw, or link to it: an auditor will read it.")
    if len(link) > 500 or (link and not _is_web(link)):
        raise InvalidInput("The link must begin with https:// or http:// and have at most 500 characters.")
    with change(actor=actor, environment=release.environment, reason=note, request_id=request_id) as this:
        Release.objects.select_for_update(no_key=True).get(pk=release.pk)
        word = Attestation.objects.filter(release=release, box=box).first()
        before = _said(word)
        if word is None:
            if not ticked:
                return False
            word = Attestation(release=release, box=box)
        elif not ticked and not word.ticked:
            return False
        word.ticked, word.by, word.at = ticked, actor.label, clock.now()
        word.note, word.link = note, link
        word.save()
        this.record(
            "check.ticked" if ticked else "check.unticked",
            subject=f"check:{release.pk}:{box}",
            before=before,
            after=_said(word),
        )
    return True


def check_run(*, release: Release, box: str, actor: Actor, request_id: str = "") -> Run:
    """Queue the script that ticks a box, where the box is measured and for the backends the release declares."""
    group, found = runbook(release).box(box) or (None, None)
    if group is None or found is None or not (found.automatic and found.scripts):
        raise NotFound(f"No script ticks the box {box!r}.")
    return run_request(
        environment=measured_in(release, group),
        name=found.scripts[0],
        arguments=found.given(release.environment),
        actor=actor,
        subject={"release": release.pk, **release.subject},
        request_id=request_id,
    )


def evidence_record(*, release: Release, box: Box, finding: gates.Finding) -> bool:
    """Keep what a check found; True when the verdict changed, which is one history entry.

    The wrong subject is refused before anything is kept.
    """
    finding = gates.rightful(finding, release.environment)
    at = clock.now()
    measured_at = finding.measured_at or at
    with change(actor=CHECKER, environment=release.environment, reason=finding.sentence[:300]) as this:
        stored = Evidence.objects.select_for_update(no_key=True).filter(release=release, box=box.key).first()
        before: dict[str, Any] | None = {"verdict": stored.verdict} if stored else None
        moved = stored is None or stored.verdict != finding.verdict
        if stored is None:
            stored = Evidence(release=release, box=box.key)
        if moved:
            stored.since = at
        stored.verdict = finding.verdict.value
        stored.sentence = finding.sentence
        stored.subject = dict(finding.subject)
        stored.synthetic = bool(gates.unreal(finding.subject))
        stored.lines = [_document(line) for line in finding.lines]
        stored.source = finding.source[:60]
        stored.measured_at = measured_at
        stored.expires_at = finding.expires_at or measured_at + box.valid_for
        stored.checked_at = at
        stored.save()
        if moved and not (before is None and finding.verdict is Verdict.NO_DATA):
            this.record(
                "evidence.recorded",
                subject=f"check:{release.pk}:{box.key}",
                before=before,
                after={
                    "verdict": finding.verdict.value,
                    "subject": dict(finding.subject),
                    "source": finding.source or "probe",
                    "synthetic": stored.synthetic,
                },
            )
    return moved


def _document(line: gates.Line) -> dict[str, Any]:
    return {name: value for name, value in asdict(line).items() if name not in ("measured", "why") or value is not None}


def _box(release: Release, key: str) -> Box:
    found = runbook(release).box(key)
    if found is None:
        raise NotFound(f"The runbook has no box {key!r}.")
    return found[1]


def _said(word: Attestation | None) -> dict[str, Any] | None:
    if word is None:
        return None
    return {"ticked": word.ticked, "note": word.note, "link": word.link}


def _is_web(link: str) -> bool:
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not re.search(r"[\s\x00-\x1f]", link)


def comment_add(*, release: Release, text: str, actor: Actor, request_id: str = "") -> ReleaseComment:
    """Say something about a release, for everybody who walks it."""
    said = text.strip().replace("\x00", "")
    if not said or len(said) > 2_000:
        raise InvalidInput("A comment has 1 to 2 000 characters.")
    with change(actor=actor, environment=release.environment, request_id=request_id) as this:
        made = ReleaseComment.objects.create(release=release, by=actor.label, at=clock.now(), text=said)
        this.record("release.commented", subject=f"release:{release.pk}", after={"comment": said})
    return made
