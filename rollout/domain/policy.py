"""What must be true before exposure rises: one function for pages, API, command line and scheduler.

Lowering is never asked: a change that moves no device away from a flag's safe value needs nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from hawkops.core.teams import Team
from hawkops.core.verdicts import Verdict
from hawkops.core.why import Why
from rollout.domain.needs import LINES

PRODUCTION = "production"
# A team's own approver for a go; in the runbook's order.
SIGNING = (Team.ENGINEERING, Team.SECURITY, Team.DEVOPS)


@dataclass(frozen=True)
class Need:
    """One line of what must be true, and what is missing when it isn't. `key` names it for programs."""

    key: str
    title: str
    met: bool
    sentence: str
    have: str = ""
    # where a line is judged by more than met or not
    verdict: Verdict | None = None

    @property
    def why(self) -> Why:
        """What it asks, what there is of it, and what brings the rest."""
        asked, brings = LINES[self.key]
        numbers = (("Has", self.have),) if self.have else ()
        return Why(self.title, numbers, asked, turns=() if self.met else (brings,), key=self.key)


@dataclass(frozen=True)
class Decision:
    """Whether a change may happen now: every line of it must be met."""

    needs: tuple[Need, ...]

    @property
    def allowed(self) -> bool:
        """Whether nothing is missing."""
        return all(need.met for need in self.needs)

    @property
    def missing(self) -> tuple[Need, ...]:
        """The lines that are not met."""
        return tuple(need for need in self.needs if not need.met)

    @property
    def people_only(self) -> bool:
        """Whether only somebody's approval is missing, so that asking for it helps."""
        return bool(self.missing) and all(need.key == "approval" for need in self.missing)

    @property
    def sentence(self) -> str:
        """Every missing line in one sentence for each."""
        return " ".join(f"{need.title}: {need.sentence}" for need in self.missing)


@dataclass(frozen=True)
class Approver:
    """Somebody who said yes, and the teams for which he may sign."""

    reference: str
    label: str
    teams: frozenset[Team] = frozenset()


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing is raised."""

    until: datetime
    by: str
    reason: str


@dataclass(frozen=True)
class Lockdown:
    """A security lockdown that stands: nothing is raised until two people have lifted it."""

    since: datetime
    by: str
    severity: str
    reason: str


@dataclass(frozen=True)
class Gate:
    """A box of the running release that does not pass, in words."""

    title: str
    sentence: str


@dataclass(frozen=True)
class Raise:
    """A change that may move devices away from a safe value, and what is known when it is to happen.

    `makers` are the references of those who made or edited it. `plan` names the plan that holds the flag and is not the
    one that acts. `gates` is None where no gate stands in the way (another environment, a flag that is no part of LiteRT);
    `released` is false where gates count and no release walks.
    """

    environment: str
    makers: frozenset[str]
    approvers: tuple[Approver, ...] = ()
    each_team: bool = False
    # other people look here as they do in production
    rehearsed: bool = False
    one_person: bool = False
    lockdown: Lockdown | None = None
    freeze: Freeze | None = None
    plan: str = ""
    gates: tuple[Gate, ...] | None = None
    released: bool = True
    # an approved plan acts, which covers its own steps
    planned: bool = False


def decide(change: Raise) -> Decision:
    """Return every line that a raise needs, met or not."""
    needs = [lockdown_need(change.lockdown), _freeze(change.freeze)]
    if change.plan:
        needs.append(
            Need(
                "plan",
                "Plan",
                False,
                f"{change.plan} holds this flag. Lower it freely; raise it by the plan, or abort it.",
            )
        )
    if change.gates is not None:
        needs.append(gates_need(change.gates, released=change.released))
    if (change.environment == PRODUCTION or change.rehearsed or change.each_team) and not change.planned:
        needs.append(approval_need(change))
    return Decision(tuple(needs))


def lockdown_need(lockdown: Lockdown | None) -> Need:
    """Return the line of the lockdown: it refuses everybody, an approved plan too."""
    if lockdown is None:
        return Need("lockdown", "Lockdown", True, "No lockdown stands.")
    sentence = (
        f"In lockdown since {lockdown.since:%d %b, %H:%M} UTC by {lockdown.by},"
        f" severity {lockdown.severity}: {lockdown.reason.rstrip('.')}."
    )
    return Need("lockdown", "Lockdown", False, sentence)


def _freeze(freeze: Freeze | None) -> Need:
    if freeze is None:
        return Need("freeze", "Freeze", True, "No freeze window is open.")
    sentence = f"Frozen until {freeze.until:%d %b, %H:%M} UTC by {freeze.by}: {freeze.reason}."
    return Need("freeze", "Freeze", False, sentence)


def gates_need(gates: Iterable[Gate], *, released: bool = True) -> Need:
    """Return the line of the gates: all pass or are waived."""
    if not released:
        return Need(
            "gates", "Gates", False, "No release walks through the runbook here, so no gate speaks for it. Create one."
        )
    missing = tuple(gates)
    if not missing:
        return Need("gates", "Gates", True, "Every gate passes or is waived.")
    first = "; ".join(f"{gate.title} ({gate.sentence.rstrip('.')})" for gate in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return Need("gates", "Gates", False, f"{len(missing)} open: {first}{more}.", f"{len(missing)} open")


def approval_need(change: Raise) -> Need:
    """Return the line of the people: a second person, or one of each team, none of whom made or edited the change."""
    if change.one_person:
        return Need(
            "approval", "Approval", True, "One-person installation: nobody else looks at this, by its settings."
        )
    others = [one for one in change.approvers if one.reference not in change.makers]
    if not change.each_team:
        if others:
            return Need(
                "approval", "Approval", True, f"Approved by {', '.join(one.label for one in others)}.", "1 of 1"
            )
        sentence = "Raising needs a second person, an approver who did not make or edit the change."
        return Need("approval", "Approval", False, sentence, "0 of 1")
    signed = signing(others)
    lacking = [team.value for team in SIGNING if team not in signed]
    have = f"{len(signed)} of {len(SIGNING)}"
    said = ", ".join(f"{one.label} for {team.value}" for team, one in signed.items())
    if not lacking:
        return Need("approval", "Approval", True, f"{said}.", have)
    sentence = f"An approver of {', '.join(lacking)} is missing, none of whom made or edited the change."
    return Need("approval", "Approval", False, f"{said}. {sentence}" if said else sentence, have)


def signing(approvers: Iterable[Approver]) -> dict[Team, Approver]:
    """Assign people to teams so that as many teams as possible have their own person; nobody signs for two.

    There are three teams, so the best of all assignments is found by trying them.
    """
    people = list(approvers)
    best: dict[Team, Approver] = {}

    def assign(rest: tuple[Team, ...], taken: dict[Team, Approver]) -> None:
        nonlocal best
        if len(taken) > len(best):
            best = dict(taken)
        if not rest or len(best) == len(SIGNING):
            return
        team, *later = rest
        used = {one.reference for one in taken.values()}
        for one in people:
            if team in one.teams and one.reference not in used:
                assign(tuple(later), {**taken, team: one})
        assign(tuple(later), taken)

    assign(SIGNING, {})
    return {team: best[team] for team in SIGNING if team in best}
