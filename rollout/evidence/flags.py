"""Assertions on flags: all at 0 %, and every kill switch pressed lately and obeyed."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from monitoring.selectors.telemetry import may_judge
from rollout.domain.drills import Outcome
from rollout.domain.gates import Finding, Line
from rollout.evidence.shape import Question
from rollout.models import Drill
from rollout.selectors import census, drills
from rollout.selectors import flags as selectors

DRILLS = ("flag.killed", "flag.override_set")
# of the devices that could: some are always just on their way
OBEY_SHARE = 0.99


def flags_at_zero(asked: Question) -> Finding:
    """The box's flags stand at 0 % and none is forced on."""
    environment = asked.release.environment
    revision = selectors.revision(environment)
    found = {flag.key: flag for flag in selectors.flags(environment) if flag.key in asked.box.flags}
    subject = {"flag_revision": revision}
    if missing := [key for key in asked.box.flags if key not in found]:
        return Finding(Verdict.NO_DATA, f"There is no flag {', '.join(missing)} in {environment}.", subject)
    above = [f"{key} is at {flag.percent:g} %" for key, flag in found.items() if flag.thousandths]
    above += [
        f"{key} has rules that serve on"
        for key, flag in found.items()
        if not flag.thousandths and flag.domain().may_serve_on
    ]
    forced = [f"{key} is forced on" for key, flag in found.items() if flag.override_variant == "on"]
    if wrong := above + forced:
        good = sum(not flag.domain().may_serve_on and flag.override_variant != "on" for flag in found.values())
        sentence = f"{good} of {len(found)} flags are at 0 %; {', '.join(wrong)}."
        return Finding(Verdict.FAIL, sentence, subject)
    return Finding(Verdict.PASS, f"All {len(found)} LiteRT flags are at 0 % at revision {revision}.", subject)


@dataclass(frozen=True)
class _Press:
    """What the newest press of one switch proves: on every device, or in a drill on a group."""

    verdict: Verdict
    sentence: str
    at: datetime
    entries: tuple[int, ...] = ()
    drills: tuple[int, ...] = ()
    devices: int = 0
    simulated: int = 0


def kill_switches(asked: Question) -> Finding:
    """Each of the box's flags was pressed to its safe value within the box's span, and devices obeyed.

    A press on every device counts with the drill's reason; a drill on the internal group counts by itself. The newest of
    each flag decides: one that forced it to its other side, or that devices did not obey in time, fails.
    """
    environment, box = asked.release.environment, asked.box
    since = asked.now - box.valid_for
    found = _on_everybody(asked, since)
    for key, drill in drills.proofs(environment, box.flags, since).items():
        if drill.pressed_at and (key not in found or found[key].at < drill.pressed_at):
            found[key] = _on_group(drill, drill.pressed_at)
    subject: dict[str, Any] = {
        "entries": sorted({seq for one in found.values() for seq in one.entries}),
        "drills": sorted({pk for one in found.values() for pk in one.drills}),
    }
    # simulated devices are counted in demo only; said where nothing else proved it
    if any(one.devices and one.devices == one.simulated for one in found.values()):
        subject["simulated"] = True
    missing = [key for key in box.flags if key not in found]
    lines = tuple(Line(key, one.verdict, one.sentence) for key, one in found.items())
    days = box.valid_for.days
    if failed := [f"{key} {one.sentence}" for key, one in found.items() if one.verdict is Verdict.FAIL]:
        return Finding(Verdict.FAIL, f"{'; '.join(failed)}.", subject, lines)
    passed = [one for one in found.values() if one.verdict is Verdict.PASS]
    if len(passed) < len(box.flags):
        verdict = Verdict.INSUFFICIENT if found else Verdict.NO_DATA
        said = [f"{len(passed)} of {len(box.flags)} switches drilled within {days} days"]
        said += [f"missing: {', '.join(missing)}"] if missing else []
        said += [f"{key} {one.sentence}" for key, one in found.items() if one.verdict is not Verdict.PASS]
        hint = f"Drill them on the internal group, or press them on every device with the reason “{box.reason}”."
        return Finding(verdict, f"{'; '.join(said)}. {hint}", subject, lines)
    oldest, fewest = min(one.at for one in passed), min(passed, key=lambda one: one.devices)
    return Finding(
        Verdict.PASS,
        f"All {len(passed)} switches drilled within {days} days, the first on {oldest:%d %b, %H:%M} UTC; at least "
        f"{fewest.devices} device{'' if fewest.devices == 1 else 's'} obeyed each.",
        subject,
        lines,
        measured_at=oldest,
        expires_at=oldest + box.valid_for,
    )


def _on_everybody(asked: Question, since: datetime) -> dict[str, _Press]:
    """Return what the newest press of each flag on every device proves, of those with the drill's reason."""
    environment, box = asked.release.environment, asked.box
    safe = {flag.key: flag.safe_variant for flag in selectors.flags(environment)}
    found: dict[str, _Press] = {}
    for entry in history.entries(environment=environment, verbs=DRILLS, since=since):
        if entry.environment != environment or not entry.reason.startswith(box.reason):
            continue
        for key, (variant, revision) in _pressed(entry).items():
            if key not in box.flags or key in found or not variant:
                continue  # the newest press of each decides
            if variant != safe.get(key):
                said = f"was forced {variant}, {safe.get(key)} is safe"
                found[key] = _Press(Verdict.FAIL, said, entry.at, (entry.seq,))
            else:
                found[key] = _obeyed_by_all(asked, entry, revision)
    return found


def _obeyed_by_all(asked: Question, entry: HistoryEntry, revision: int) -> _Press:
    """Judge a press on every device by those that were there before it and were heard of since."""
    environment, at = asked.release.environment, entry.at
    counts = census.obeyed_since(environment, revision, at, simulated=may_judge(environment, simulated=True))
    said = f"{counts.obeyed} of {counts.devices} devices heard of since {at:%d %b, %H:%M} UTC obeyed"
    if not counts.devices:
        verdict, said = Verdict.INSUFFICIENT, f"was pressed on {at:%d %b, %H:%M} UTC, and no device was heard of since"
    elif counts.obeyed >= ceil(OBEY_SHARE * counts.devices):
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INSUFFICIENT if asked.now < at + census.LEASE else Verdict.FAIL
    return _Press(verdict, said, at, (entry.seq,), devices=counts.obeyed, simulated=counts.simulated)


def _on_group(drill: Drill, pressed_at: datetime) -> _Press:
    """Judge a drill on a group: it says itself who obeyed in its time."""
    verdict = Outcome(drill.outcome).verdict or Verdict.INSUFFICIENT
    said = f"{drill.obeyed} of {drill.devices} devices of {drill.group} obeyed on {pressed_at:%d %b, %H:%M} UTC"
    if verdict is Verdict.FAIL:
        said += f" within {drill.minutes} min"
    return _Press(verdict, said, pressed_at, drills=(drill.pk,), devices=drill.obeyed, simulated=drill.simulated)


def _pressed(entry: HistoryEntry) -> dict[str, tuple[str, int]]:
    """Return what an entry forced, and at which revision: one flag's state, or a state for each of several."""
    after: dict[str, Any] = entry.after or {}
    states = after if "override" not in after else {entry.subject.removeprefix("flag:"): after}
    return {
        key: ((state.get("override") or {}).get("variant", ""), state.get("revision", 0))
        for key, state in states.items()
    }
