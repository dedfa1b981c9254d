"""What must be true before exposure rises, as a table: each line alone, and who may sign for whom."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hawkops.core.teams import Team
from rollout.domain.policy import Approver, Freeze, Gate, Lockdown, Raise, decide, signing

MAKER = frozenset(["person:1"])
ANA = Approver("person:2", "ana", frozenset([Team.ENGINEERING]))
SAM = Approver("person:3", "sam", frozenset([Team.SECURITY]))
DEV = Approver("person:4", "dev", frozenset([Team.DEVOPS]))
SELF = Approver("person:1", "maker", frozenset(Team))
UNTIL = Freeze(datetime(2026, 11, 30, tzinfo=UTC), "ana", "Black Friday")


LOCKED = Lockdown(datetime(2026, 11, 29, 14, 2, tzinfo=UTC), "ana", "high", "Forged model")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"environment": "demo"}, []),
        ({"environment": "staging"}, []),
        ({}, ["approval"]),
        ({"approvers": (ANA,)}, []),
        ({"approvers": (SELF,)}, ["approval"]),
        ({"approvers": (SELF, ANA)}, []),
        ({"makers": MAKER | {"person:2"}, "approvers": (ANA,)}, ["approval"]),
        ({"one_person": True}, []),
        ({"planned": True}, []),
        ({"environment": "demo", "freeze": UNTIL}, ["freeze"]),
        ({"planned": True, "freeze": UNTIL}, ["freeze"]),
        ({"environment": "demo", "lockdown": LOCKED}, ["lockdown"]),
        ({"lockdown": LOCKED}, ["lockdown", "approval"]),
        ({"planned": True, "lockdown": LOCKED}, ["lockdown"]),
        ({"one_person": True, "lockdown": LOCKED, "freeze": UNTIL}, ["lockdown", "freeze"]),
        ({"approvers": (ANA, SAM, DEV), "each_team": True, "lockdown": LOCKED}, ["lockdown"]),
        ({"approvers": (ANA,), "plan": "Phase 2 of HazardHawk 2.4.0"}, ["plan"]),
        ({"approvers": (ANA,), "gates": ()}, []),
        ({"approvers": (ANA,), "gates": (Gate("Scan", "NO DATA"),)}, ["gates"]),
        ({"approvers": (ANA,), "gates": (), "released": False}, ["gates"]),
        ({"one_person": True, "gates": (Gate("Scan", "NO DATA"),)}, ["gates"]),
        ({"each_team": True, "approvers": (ANA, SAM)}, ["approval"]),
        ({"each_team": True, "approvers": (ANA, SAM, DEV)}, []),
        ({"each_team": True, "approvers": (SELF, SAM, DEV)}, ["approval"]),
        ({"each_team": True, "environment": "demo", "approvers": (ANA,)}, ["approval"]),
    ],
)
def test_decide__each_line__says_what_is_missing(given: dict[str, Any], missing: list[str]) -> None:
    decision = decide(Raise(**{"environment": "production", "makers": MAKER, **given}))
    assert [need.key for need in decision.missing] == missing
    assert decision.allowed is not bool(missing)
    assert all(need.sentence for need in decision.needs)


def test_signing__somebody_in_several_teams__signs_for_one_so_that_most_teams_have_their_own() -> None:
    both = Approver("person:5", "both", frozenset([Team.ENGINEERING, Team.SECURITY]))
    assert {team: one.label for team, one in signing([both, ANA, DEV]).items()} == {
        Team.ENGINEERING: "ana",
        Team.SECURITY: "both",
        Team.DEVOPS: "dev",
    }
    everything = Approver("person:6", "all", frozenset(Team))
    assert len(signing([everything])) == 1
    assert len(signing([everything, both])) == 2


def test_decide__gates__names_three_and_counts_the_rest() -> None:
    gates = tuple(Gate(f"Box {index}", "NO DATA") for index in range(5))
    decision = decide(Raise("production", MAKER, (ANA,), gates=gates))
    assert decision.sentence == ("Gates: 5 open: Box 0 (NO DATA); Box 1 (NO DATA); Box 2 (NO DATA) and 2 more.")


def test_decide__lockdown__says_since_when_by_whom_and_what_ends_it() -> None:
    decision = decide(Raise("demo", MAKER, lockdown=LOCKED))
    assert decision.sentence == ("Lockdown: In lockdown since 29 Nov, 14:02 UTC by ana, severity high: Forged model.")
    assert not decision.people_only
    why = decision.missing[0].why
    assert (why.key, why.formula) == ("lockdown", "no lockdown stands")
    assert "an approver, somebody else, confirms" in why.turns[0]
    assert decide(Raise("demo", MAKER)).needs[0].why.turns == ()
