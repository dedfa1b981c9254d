"""Why a box of the checklist stands where it stands: its evidence or a person's word, and what would change it. Pure.

What a criterion decides is explained by `monitoring.domain.why`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hawkops.core.verdicts import Verdict
from hawkops.core.why import Number, Why
from rollout.domain import gates
from rollout.domain.gates import Basis, Standing
from rollout.domain.runbook import Box

# what of evidence's subject makes it STALE at once when it changes
BOUND = {
    "model_digest": "the release's model",
    "flag_revision": "any flag",
    "programs": "a program that ran",
    "validation": "the validation",
    "version_code": "the app's build",
}


def box_why(
    box: Box, standing: Standing, *, subject: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], measured_in: str,
    waived_until: datetime | None = None,
) -> Why:  # fmt: skip
    """Explain where a box stands. `subject` and `lines` are its evidence's, empty without any."""
    turns = list(_turns(box, standing, subject, lines, measured_in))
    if waived_until is not None:
        turns.insert(0, f"It is waived until {_moment(waived_until)} UTC; then it blocks again unless it passes.")
    return Why(box.title, _box_numbers(standing, subject, lines), _box_formula(box), turns=tuple(turns), key=box.key)


def _box_formula(box: Box) -> str:
    said = box.means
    if not box.automatic:
        return f"{said}: a person's word, good for {gates.span(box.valid_for)}"
    if box.scripts:
        ran = " or ".join(box.scripts)
        needs = f", with {len(box.expects)} expected lines" if box.expects else ""
        return f"{said}: the newest run of {ran} ends with 0{needs}, good for {gates.span(box.valid_for)}"
    if box.criteria:
        return f"{said}: every criterion of {', '.join(box.criteria)} in scope passes, read over the validation's hours"
    return f"{said}; looked up again and again, good for {gates.span(box.valid_for)}"


def _box_numbers(
    standing: Standing, subject: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
) -> tuple[Number, ...]:  # fmt: skip
    rows: list[Number] = [("Verdict", f"{standing.verdict.label}: {standing.sentence}")]
    counted = [line for line in lines if line["verdict"]]
    if counted:
        passing = sum(line["verdict"] == Verdict.PASS for line in counted)
        out = f", {len(lines) - len(counted)} not in scope" if len(lines) > len(counted) else ""
        rows.append(("Lines", f"{passing} of {len(counted)} pass{out}"))
    if standing.basis is not Basis.NOTHING:
        rows.append(("Stands on", "a person's word" if standing.basis is Basis.ATTESTATION else "evidence"))
    if standing.at is not None:
        until = f", good until {_moment(standing.expires_at)} UTC" if standing.expires_at is not None else ""
        rows.append(("Seen", f"{_moment(standing.at)} UTC{until}"))
    if bound := _bound(subject):
        rows.append(("Bound to", ", ".join(bound)))
    return tuple(rows)


def _turns(
    box: Box, standing: Standing, subject: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], measured_in: str
) -> Iterable[str]:
    verdict = standing.verdict
    if not standing.in_scope:
        yield "It counts as soon as a device has what it judges."
        return
    if verdict is Verdict.PASS:
        if standing.expires_at is not None:
            yield f"It is STALE from {_moment(standing.expires_at)} UTC on, unless it is seen again before."
        if bound := _bound(subject):
            yield f"It is STALE at once when this changes: {', '.join(bound)}."
        return
    bad = [line for line in lines if line["verdict"] and line["verdict"] != Verdict.PASS]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        named = "; ".join(str(line["title"]) for line in bad[:3])
        yield f"It takes that these lines pass: {named}{more}."
    if not box.automatic:
        yield f"A person with the role releaser ticks it: {box.means}."
    elif box.by == "security_scan":
        yield "It changes with the next scan that somebody or a pipeline uploads."
    elif box.by == "concluding_script":
        yield f"{box.scripts[0]} runs by itself when the phase's minimum time and its hours of data are over."
    elif box.scripts:
        yield f"It changes with the next run of {' or '.join(box.scripts)} in {measured_in}."
    elif not bad:
        yield "It changes with its next check; what is missing is said above."


def _bound(subject: Mapping[str, Any]) -> list[str]:
    return [words for name, words in BOUND.items() if subject.get(name)]


def _moment(at: datetime | None) -> str:
    return f"{at:%d %b, %H:%M}" if at is not None else ""
