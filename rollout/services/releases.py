"""Writes on releases: imported runbooks, new releases, evidence, and people's ticks."""

import logging
from typing import Any
from urllib.parse import urlsplit

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.jobs import Job
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.domain.gates import Finding, right_subject
from rollout.evidence.checks import REGISTRY
from rollout.models import Attestation, Evidence, Release, RunbookVersion
from rollout.runbook.loading import load
from rollout.selectors.releases import boxes

log = logging.getLogger(__name__)

EVIDENCE_REFRESH = Job("rollout.evidence_refresh", "critical")
CHECKER = Actor.rule("evidence")
BACKENDS = ("cpu", "gpu", "npu")
SYNTHETIC_DIGEST = "sha256:b6ea5fe33c543c4db05b78ddb7343c878a44dcbeb8817b763e1613408c827410"


def runbook_import(*, actor: Actor) -> RunbookVersion:
    """Import the bundled runbook once; return its version."""
    document = load()
    with change(actor=actor, reason="Installation") as this:
        found = RunbookVersion.objects.filter(version=document["version"]).first()
        if found is not None:
            return found
        found = RunbookVersion.objects.create(version=document["version"], document=document, imported_at=clock.now())
        count = sum(len(group["boxes"]) for group in document["groups"])
        this.record(
            "runbook.imported",
            subject=f"runbook:{found.version}",
            after={"boxes": count, "gates": len(document["gates"]), "phases": len(document["phases"])},
        )
    return found


def release_seed(*, actor: Actor) -> None:
    """Give `demo` a release for the local device, once."""
    if Release.objects.filter(environment=Environment.DEMO.value).exists():
        return
    release_create(
        environment=Environment.DEMO.value,
        name="Local device",
        app_version="0.1.0-demo",
        version_code=1,
        model_name="synthetic-0.8MB",
        model_digest=SYNTHETIC_DIGEST,
        backends=["cpu"],
        actor=actor,
        reason="Installation",
    )


def release_create(
    *,
    environment: str,
    name: str,
    app_version: str,
    version_code: int,
    model_name: str,
    model_digest: str,
    backends: list[str],
    actor: Actor,
    reason: str = "",
    request_id: str = "",
) -> Release:
    """Begin a release's walk; it pins the newest runbook. One release runs in an environment at a time."""
    if not name.strip() or not app_version.strip():
        raise InvalidInput("A release needs a name and an app version.")
    if not backends or any(backend not in BACKENDS for backend in backends):
        raise InvalidInput("Declare the backends the release uses: cpu, gpu, npu.")
    runbook = RunbookVersion.objects.order_by("-pk").first()
    if runbook is None:
        raise NotFound("No runbook is imported yet. Run `manage.py seed`.")
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        if running := Release.objects.filter(environment=environment, running=True).first():
            raise Conflict(f"{running.name} {running.app_version} is running in {environment}; it must end first.")
        release = Release.objects.create(
            environment=environment,
            name=name.strip()[:80],
            app_version=app_version.strip()[:40],
            version_code=version_code,
            model_name=model_name.strip()[:80],
            model_digest=model_digest.strip()[:80],
            backends=backends,
            runbook=runbook,
            created_by=actor.label,
            created_at=clock.now(),
        )
        this.record(
            "release.created",
            subject=f"release:{release.pk}",
            after={"name": release.name, **release.subject, "runbook": runbook.version},
        )
        EVIDENCE_REFRESH.enqueue()
    return release


def check_tick(
    *, release: Release, box: str, ticked: bool, note: str, link: str, actor: Actor, request_id: str = ""
) -> None:
    """Record a person's word on a box. Raises InvalidInput for a box that ticks itself."""
    found = {one.key: one for one in boxes(release.runbook)}.get(box)
    if found is None:
        raise NotFound(f"The runbook has no box {box!r}.")
    if found.check:
        raise InvalidInput(
            f"“{found.text}” ticks itself from evidence; a hand can't. Waivers come with the rollout in full."
        )
    note, link = note.strip()[:500], link.strip()[:500]
    if ticked and not (note or link):
        raise InvalidInput("Say what you saw, or link to it: an auditor will read it.")
    if link and urlsplit(link).scheme not in ("http", "https"):
        raise InvalidInput("The link must begin with https:// or http://.")
    with change(actor=actor, environment=release.environment, reason=note, request_id=request_id) as this:
        before = Attestation.objects.select_for_update(no_key=True).filter(release=release, box=box).first()
        was = before.ticked if before else False
        if was == ticked and (not before or (before.note, before.link) == (note, link)):
            return
        Attestation.objects.update_or_create(
            release=release,
            box=box,
            defaults={"ticked": ticked, "by": actor.label, "at": clock.now(), "note": note, "link": link},
        )
        this.record(
            "check.ticked" if ticked else "check.unticked",
            subject=f"check:{release.pk}:{box}",
            before={"ticked": was},
            after={"ticked": ticked, "link": link},
        )


def evidence_refresh(*, release: Release) -> int:
    """Run every automatic check of the release and keep what it found; return how many verdicts changed.

    Probes run outside the transaction; only a changed verdict is a history entry.
    """
    changed = 0
    for box in boxes(release.runbook):
        if not box.check:
            continue
        changed += _evidence_record(release, box.key, _looked(release, box.check))
    return changed


def _looked(release: Release, name: str) -> Finding:
    function = REGISTRY.get(name)
    if function is None:
        return Finding(Verdict.ERROR, f"There is no check named {name}.", {})
    try:
        return right_subject(function(release), release.environment)
    except Exception as error:
        log.exception("evidence.check_broken", extra={"check": name})
        return Finding(Verdict.ERROR, f"The check broke: {type(error).__name__}.", {})


def _evidence_record(release: Release, box: str, finding: Finding) -> int:
    at = clock.now()
    with change(actor=CHECKER, environment=release.environment, reason=finding.sentence[:300]) as this:
        stored = Evidence.objects.select_for_update(no_key=True).filter(release=release, box=box).first()
        before: dict[str, Any] | None = {"verdict": stored.verdict} if stored else None
        moved = stored is None or stored.verdict != finding.verdict
        if stored is None:
            stored = Evidence(release=release, box=box, since=at)
        if moved:
            stored.since = at
        stored.verdict = finding.verdict.value
        stored.sentence = finding.sentence
        stored.subject = finding.subject
        stored.synthetic = finding.synthetic
        stored.checked_at = at
        stored.save()
        if moved:
            this.record(
                "evidence.recorded",
                subject=f"check:{release.pk}:{box}",
                before=before,
                after={"verdict": finding.verdict.value, "subject": finding.subject, "synthetic": finding.synthetic},
            )
    return int(moved)
