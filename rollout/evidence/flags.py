"""Assertions on flags: all at 0 %, and every kill switch drilled lately."""

from datetime import datetime
from typing import Any

from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from rollout.domain.gates import Finding
from rollout.evidence.shape import Question
from rollout.selectors import flags as selectors

DRILLS = ("flag.killed", "flag.override_set")


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


def kill_switches(asked: Question) -> Finding:
    """Each of the box's flags was pressed to its safe value with the drill's reason within the box's span.

    A drill that forced one to its other side last fails: in earnest that press would have done harm.
    """
    environment, box = asked.release.environment, asked.box
    safe = {flag.key: flag.safe_variant for flag in selectors.flags(environment)}
    drilled: dict[str, tuple[datetime, int]] = {}
    wrongly: dict[str, str] = {}
    for entry in history.entries(environment=environment, verbs=DRILLS, since=asked.now - box.valid_for):
        if entry.environment != environment or not entry.reason.startswith(box.reason):
            continue
        for key, variant in _pressed(entry).items():
            if key not in box.flags or key in drilled or key in wrongly:
                continue  # the newest press of each decides
            if variant == safe.get(key):
                drilled[key] = (entry.at, entry.seq)
            elif variant:
                wrongly[key] = variant
    subject = {"entries": sorted({seq for _, seq in drilled.values()})}
    if wrongly:
        said = ", ".join(f"{key} was forced {variant}, {safe.get(key)} is safe" for key, variant in wrongly.items())
        return Finding(Verdict.FAIL, f"Drilled to the wrong side: {said}.", subject)
    missing = [key for key in box.flags if key not in drilled]
    days = box.valid_for.days
    if missing:
        verdict = Verdict.INSUFFICIENT if drilled else Verdict.NO_DATA
        begin = f"{len(drilled)} of {len(box.flags)} switches drilled within {days} days"
        return Finding(verdict, f"{begin}; missing: {', '.join(missing)}. The reason is “{box.reason}”.", subject)
    oldest = min(at for at, _ in drilled.values())
    return Finding(
        Verdict.PASS,
        f"All {len(drilled)} switches drilled within {days} days, the first on {oldest:%d %b, %H:%M} UTC.",
        subject,
        measured_at=oldest,
        expires_at=oldest + box.valid_for,
    )


def _pressed(entry: HistoryEntry) -> dict[str, str]:
    """Return what an entry forced: one flag's state, or a state for each of several."""
    after: dict[str, Any] = entry.after or {}
    states = after if "override" not in after else {entry.subject.removeprefix("flag:"): after}
    return {key: (state.get("override") or {}).get("variant", "") for key, state in states.items()}
