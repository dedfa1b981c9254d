"""What the entries of a release tell by themselves: phases, decisions, waivers, roles, and how many people each act took.

Whoever has the entries makes these sections again, which is how a pack is verified. Standard library only.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hawkops.history.domain.chain import Row

Section = list[dict[str, Any]]

STARTED = ("phase.started", "phase.jumped")
ENDED = {"phase.passed": "passed", "phase.aborted": "aborted"}
GRANTED = ("person.created", "role.changed")
TEAMED = "person.teams_changed"
INTERVENED = (
    "break_glass.",
    "flag.killed",
    "flag.reenabled",
    "flag.override_",
    "guardrail.rolled_back",
    "lockdown.",
    "phase.aborted",
    "rollback.",
)
# what one person may do alone, and why that is meant so
ALONE = {
    "flag.killed": "A kill never waits for a second person.",
    "rollback.made": "A rollback lowers exposure and never waits for a second person.",
    "lockdown.started": "A lockdown lowers exposure; lifting it takes two people.",
    "phase.paused": "Holding a phase raises nothing.",
    "phase.aborted": "Aborting serves nobody; it never waits for a second person.",
    "break_glass.opened": "Break-glass access is for when nobody else can be reached; it is loud in the history.",
}
# where what is proposed takes a second person; waivers and jumps take one everywhere
PRODUCTION = "production"
ALWAYS = ("waiver",)
# actors that are no people
MACHINES = ("rule:", "system:", "key:")


def phases(rows: Sequence[Row], release: int) -> Section:
    """Return each phase that was walked: its steps with date and percentage, its pauses, how it ended."""
    found: Section = []
    under_way: dict[int, dict[str, Any]] = {}
    for row in rows:
        number = _number(row.subject, f"phase:{release}:")
        if number is None:
            continue
        after = _after(row)
        if row.verb in STARTED:
            percents = after.get("percents") or []
            under_way[number] = {
                "phase": number,
                "title": after.get("title", ""),
                "jumped": row.verb == "phase.jumped",
                "proposal": after.get("proposal"),
                **_act(row),
                "steps": [{"percent": percents[0], **_act(row)}] if percents else [],
                "pauses": [],
                "ended": None,
            }
            found.append(under_way[number])
        elif number in under_way:
            _walked(under_way[number], row, after)
    return found


def _walked(run: dict[str, Any], row: Row, after: Mapping[str, Any]) -> None:
    if row.verb == "phase.stepped":
        run["steps"].append({"percent": after.get("percent"), **_act(row)})
    elif row.verb in ("phase.paused", "phase.resumed"):
        run["pauses"].append({"what": row.verb.partition(".")[2], "reason": row.reason, **_act(row)})
    elif row.verb in ENDED:
        run["ended"] = {"how": ENDED[row.verb], "reason": row.reason, **_act(row)}


def decisions(rows: Sequence[Row], release: int) -> Section:
    """Return what was decided after each phase, and who signed for which team before the next one began."""
    made = _proposals(rows)
    began = {row.at: _after(row).get("proposal") for row in rows if row.verb in STARTED}
    found: Section = []
    for row in rows:
        number = _number(row.subject, f"decision:{release}:")
        if number is None or row.verb != "decision.made":
            continue
        after = _after(row)
        # a go is appended together with the start that it leads to
        asked = made.get(str(began.get(row.at)), {})
        found.append(
            {
                "decision": number,
                **{name: after.get(name) for name in ("phase", "decided", "recommendation", "disagrees", "digest")},
                "reason": row.reason,
                "proposal": began.get(row.at),
                "signed": asked.get("approved", []),
                **_act(row),
            }
        )
    return found


def waivers(rows: Sequence[Row], release: int) -> Section:
    """Return each waiver: which box, until when, why, and whether it was taken back."""
    found: Section = []
    for row in rows:
        begin = f"check:{release}:"
        if row.verb in ("check.waived", "check.waiver_ended") and row.subject.startswith(begin):
            after = _after(row)
            found.append(
                {
                    "box": row.subject.removeprefix(begin),
                    "what": "waived" if row.verb == "check.waived" else "taken back",
                    "until": after.get("expires_at"),
                    "reason": row.reason,
                    **_act(row),
                }
            )
    return found


def interventions(rows: Sequence[Row]) -> Section:
    """Return kills, overrides, rollbacks and lockdowns in the environment while the release was there."""
    return [
        {"what": row.verb, "subject": row.subject, "reason": row.reason, **_act(row)}
        for row in rows
        if row.verb.startswith(INTERVENED)
    ]


def roles(rows: Sequence[Row]) -> Section:
    """Return who held which role, and signed for which team, from when to when, and who gave and took it.

    `until` is None for what is still held.
    """
    found: Section = []
    held: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        after = _after(row)
        if row.verb in GRANTED:
            kind, where, wanted = "role", str(after.get("environment", "all")), after.get("roles")
        elif row.verb == TEAMED:
            kind, where, wanted = "team", "all", after.get("teams")
        else:
            continue
        standing = held.setdefault((row.subject, kind, where), {})
        names = {str(one) for one in wanted or []}
        for name in sorted(standing.keys() - names):
            standing.pop(name).update(until=_moment(row), taken_by=row.actor, taken_entry=row.seq)
        for name in sorted(names - standing.keys()):
            standing[name] = {
                "person": row.subject,
                "kind": kind,
                "name": name,
                "environment": where,
                "since": _moment(row),
                "given_by": row.actor,
                "entry": row.seq,
                "until": None,
                "taken_by": None,
                "taken_entry": None,
            }
            found.append(standing[name])
    return found


def acts(rows: Sequence[Row]) -> Section:
    """Return every act that takes two people, and what one did alone, with who asked and who approved.

    `differ` says that at least one approved and none of those who asked did; a token counts as the person who made it.
    None where nobody had to approve.
    """
    makers = {
        f"token:{row.subject.partition(':')[2]}": row.actor
        for row in rows
        if row.verb == "token.created" and row.subject.startswith("api_token:")
    }
    found = [
        *_proposed(rows),
        *_lifted(rows),
        *_skipped(rows),
        *_runbooks(rows),
        *_started_alone(rows),
        *_alone(rows),
    ]
    for one in found:
        one["asked"], one["approved"] = _people(one["asked"], makers), _people(one["approved"], makers)
        asked, approved = ({act["person"] for act in one[side]} for side in ("asked", "approved"))
        if one["takes"] == 2:
            one["differ"] = bool(approved) and not asked & approved
    return sorted(found, key=lambda one: (one["entry"], one["what"]))


def _people(said: Iterable[Mapping[str, Any]], makers: Mapping[str, str]) -> Section:
    return [{**one, "person": makers.get(one["by"], one["by"])} for one in said]


def _proposals(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return proposals by number: who made and edited them, whose yes stands, and what became of them."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        kind, _, number = row.subject.partition(":")
        if kind != "proposal":
            continue
        after = _after(row)
        if row.verb == "proposal.made":
            found[number] = {
                "what": str(after.get("title", "")),
                "kind": after.get("kind"),
                "asked": [_act(row)],
                "approved": [],
                "outcome": "open",
                "strict": row.environment == PRODUCTION or after.get("kind") in ALWAYS,
                "entry": row.seq,
            }
        if number not in found:
            continue
        one = found[number]
        if row.verb == "proposal.edited":
            one["asked"].append(_act(row))
        if row.verb in ("proposal.edited", "proposal.approvals_fell"):
            one["approved"] = []
        elif row.verb == "proposal.approved":
            one["approved"].append({"teams": after.get("teams") or [], **_act(row)})
        elif row.verb in ("proposal.applied", "proposal.withdrawn"):
            one["outcome"] = row.verb.partition(".")[2]
    return found


def _proposed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for number, one in _proposals(rows).items():
        double = one["approved"] or (one["outcome"] == "applied" and one["strict"])
        takes = 2 if double else 1
        why = "It was not carried out." if one["outcome"] != "applied" else "Nobody’s approval is asked for here."
        why = "" if double else why
        yield _listed(one["what"], f"proposal:{number}", one, takes=takes, why=why, outcome=one["outcome"])


def _lifted(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    asked: dict[str, Row] = {}
    for row in rows:
        if row.verb == "lockdown.lift_asked":
            asked[row.subject] = row
        elif row.verb == "lockdown.lifted":
            before = asked.get(row.subject)
            said = {"asked": [_act(before)] if before else [], "approved": [_act(row)], "entry": row.seq}
            yield _listed("Lift the lockdown", row.subject, said, takes=2, outcome="lifted")


def _skipped(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    asked: dict[str, Row] = {}
    for row in rows:
        if row.verb == "step.skip_asked":
            asked[row.subject] = row
        elif row.verb == "step.skipped":
            before = asked.get(row.subject)
            if before is not None:
                said = {"asked": [_act(before)], "approved": [_act(row)], "entry": row.seq}
                yield _listed("Skip a deployment step", row.subject, said, takes=2, outcome="skipped")
            else:
                said = {"asked": [_act(row)], "approved": [], "entry": row.seq}
                why = "The step takes no second person here."
                yield _listed("Skip a deployment step", row.subject, said, takes=1, why=why, outcome="skipped")


def _runbooks(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    made: dict[str, list[dict[str, Any]]] = {}
    signed: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.verb in ("runbook.imported", "runbook.edited"):
            made.setdefault(row.subject, []).append(_act(row))
            signed[row.subject] = []
        elif row.verb == "runbook.approved":
            signed.setdefault(row.subject, []).append({"teams": [_after(row).get("team")], **_act(row)})
        elif row.verb == "runbook.adopted":
            said = {"asked": made.get(row.subject, []), "approved": signed.get(row.subject, []), "entry": row.seq}
            yield _listed("Adopt the runbook", row.subject, said, takes=2, outcome="adopted")


def _started_alone(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row.verb in STARTED and not _after(row).get("proposal"):
            said = {"asked": [_act(row)], "approved": [], "entry": row.seq}
            why = "No proposal was asked for: the policy of this environment needs no second person."
            yield _listed(f"Start phase {row.subject.rpartition(':')[2]}", row.subject, said, takes=1, why=why)


def _alone(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        why = next((words for verb, words in ALONE.items() if row.verb.startswith(verb)), "")
        if why:
            machine = row.actor.startswith(MACHINES)
            said = {"asked": [_act(row)], "approved": [], "entry": row.seq}
            yield _listed(row.verb, row.subject, said, takes=0 if machine else 1, why=why)


def _listed(
    what: str, subject: str, said: Mapping[str, Any], *, takes: int, why: str = "", outcome: str = "done"
) -> dict[str, Any]:
    """`takes` is how many people it takes: 0 for what a rule did by itself."""
    return {
        "what": what,
        "subject": subject,
        "asked": list(said["asked"]),
        "approved": list(said["approved"]),
        "outcome": outcome,
        "takes": takes,
        "differ": None,
        "why": why,
        "entry": said["entry"],
    }


def _act(row: Row) -> dict[str, Any]:
    return {"by": row.actor, "at": _moment(row), "entry": row.seq}


def _moment(row: Row) -> str:
    return row.at.isoformat(timespec="microseconds")


def _after(row: Row) -> dict[str, Any]:
    found = json.loads(row.after) if row.after else {}
    return found if isinstance(found, dict) else {}


def _number(subject: str, begin: str) -> int | None:
    text = subject.removeprefix(begin)
    return int(text) if text != subject and text.isdecimal() else None
