"""Asking the checks of a release and keeping their answers. A check that breaks is an ERROR, and stops no other."""

import logging
from datetime import datetime

from hawkops.core import clock
from hawkops.core.live import announce
from hawkops.core.verdicts import Verdict
from rollout.domain.gates import Finding
from rollout.domain.runbook import Group
from rollout.evidence.registry import CHECKS
from rollout.evidence.shape import Question
from rollout.models import Evidence, Release
from rollout.selectors import clocks
from rollout.selectors.releases import measured_in, runbook
from rollout.services.releases import evidence_record

log = logging.getLogger(__name__)


def release_refresh(*, release: Release, at_once: bool = False) -> int:
    """Ask every check that is due (all of them `at_once`); return how many verdicts changed.

    Nothing is locked while a check works; each answer is kept in a short transaction of its own.
    """
    kept = {one.box: one for one in Evidence.objects.filter(release=release).only("box", "checked_at", "subject")}
    book = runbook(release)
    validation = clocks.named(clocks.current(release))
    changed = 0
    for group, box in book.boxes():
        if not box.automatic:
            continue
        now = clock.now()
        check = CHECKS.get(box.by)
        last = kept.get(box.key)
        # what was read over another validation's time says nothing any more, however new it is
        moved = last is not None and group in book.validation and (last.subject.get("validation") or "") != validation
        if check is not None and last is not None and not (at_once or moved) and now - last.checked_at < check.every:
            continue
        finding = _answer(release, group, box.key, now, at_once)
        changed += evidence_record(release=release, box=box, finding=finding)
    announce("evidence", release.environment, release=release.pk)
    return changed


def _answer(release: Release, group: Group, key: str, now: datetime, at_once: bool) -> Finding:
    box = next(one for one in group.boxes if one.key == key)
    check = CHECKS.get(box.by)
    if check is None:
        return Finding(Verdict.ERROR, f"There is no check named {box.by}.")
    environment = measured_in(release, group)
    try:
        return check.ask(Question(release, box, environment, now, at_once))
    except Exception as error:
        log.exception("evidence.check_broken", extra={"check": box.by, "release": release.pk})
        return Finding(Verdict.ERROR, f"The check broke: {type(error).__name__}. The worker's log says more.")
