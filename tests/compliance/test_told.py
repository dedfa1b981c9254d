"""What entries tell by themselves: who asked and who approved, who held which role."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hawkops.compliance.domain import told
from hawkops.history.domain.chain import Row

BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def row(seq: int, actor: str, verb: str, subject: str, after: Any = None, environment: str = "production") -> Row:
    """An entry of so many minutes after the beginning."""
    return Row(
        seq=seq,
        at=BEGAN + timedelta(minutes=seq),
        environment=environment,
        actor=actor,
        verb=verb,
        subject=subject,
        before=None,
        after=None if after is None else json.dumps(after),
        reason="",
        request_id="",
        cause=None,
        hidden=False,
        commitment="",
    )


def one_act(*rows: Row) -> dict[str, Any]:
    """The only act that these entries tell."""
    (found,) = told.acts(rows)
    return found


MADE = row(1, "person:1", "proposal.made", "proposal:7", {"title": "Go on", "kind": "phase.start"})
APPLIED = row(9, "person:2", "proposal.applied", "proposal:7", {"state": "applied"})


def test_acts__proposal_approved_by_another__is_two_people() -> None:
    found = one_act(MADE, row(2, "person:2", "proposal.approved", "proposal:7", {"teams": ["devops"]}), APPLIED)

    assert (found["what"], found["takes"], found["differ"], found["outcome"]) == ("Go on", 2, True, "applied")
    assert [(one["by"], one["teams"]) for one in found["approved"]] == [("person:2", ["devops"])]


@pytest.mark.parametrize(
    "between",
    [
        [],
        [row(2, "person:1", "proposal.approved", "proposal:7", {"teams": []})],
        [
            row(2, "person:2", "proposal.approved", "proposal:7", {"teams": []}),
            row(3, "person:2", "proposal.edited", "proposal:7", {"title": "Go on"}),
        ],
        [
            row(2, "person:2", "proposal.approved", "proposal:7", {"teams": []}),
            row(3, "system:x", "proposal.approvals_fell", "proposal:7", {"fell": 1}),
        ],
    ],
    ids=["nobody", "the asker", "an edit lets it fall", "another model lets it fall"],
)
def test_acts__applied_in_production_without_anothers_yes_that_stands__differs_not(between: list[Row]) -> None:
    found = one_act(MADE, *between, APPLIED)

    assert (found["takes"], found["differ"]) == (2, False)


def test_acts__token_of_the_approver__counts_as_who_made_it() -> None:
    token = row(1, "person:2", "token.created", "api_token:5", {"name": "ci"}, environment="")
    made = row(2, "token:5", "proposal.made", "proposal:7", {"title": "Go on"})

    found = one_act(token, made, row(3, "person:2", "proposal.approved", "proposal:7", {"teams": []}), APPLIED)

    assert found["asked"][0]["person"] == "person:2"
    assert found["differ"] is False


def test_acts__proposal_where_nobody_is_asked_or_that_never_came_about__takes_one() -> None:
    staging = [
        row(1, "person:1", "proposal.made", "proposal:7", {"title": "Go on"}, environment="staging"),
        row(2, "person:1", "proposal.applied", "proposal:7", {}, environment="staging"),
    ]
    withdrawn = [MADE, row(2, "person:1", "proposal.withdrawn", "proposal:7", {})]

    assert [(one["takes"], one["why"]) for one in told.acts(staging)] == [(1, "Nobody’s approval is asked for here.")]
    assert [(one["takes"], one["why"]) for one in told.acts(withdrawn)] == [(1, "It was not carried out.")]


def test_acts__lockdown_step_and_runbook__name_both_sides() -> None:
    rows = [
        row(1, "person:1", "lockdown.started", "lockdown:1"),
        row(2, "person:1", "lockdown.lift_asked", "lockdown:1"),
        row(3, "person:2", "lockdown.lifted", "lockdown:1"),
        row(4, "person:1", "step.skip_asked", "step:1:monitoring"),
        row(5, "person:1", "step.skipped", "step:1:monitoring"),
        row(6, "person:3", "runbook.imported", "runbook:2"),
        row(7, "person:4", "runbook.approved", "runbook:2", {"team": "security"}),
        row(8, "person:4", "runbook.adopted", "runbook:2"),
    ]

    found = [(one["what"], one["takes"], one["differ"]) for one in told.acts(rows)]

    assert found == [
        ("lockdown.started", 1, None),
        ("Lift the lockdown", 2, True),
        ("Skip a deployment step", 2, False),
        ("Adopt the runbook", 2, True),
    ]


def test_acts__what_stops_harm__is_named_as_meant_and_a_rules_own_as_nobodys() -> None:
    found = told.acts(
        [
            row(1, "person:1", "flag.killed", "flag:litert_enabled"),
            row(2, "rule:guardrail:crashes", "rollback.made", "rollback:1"),
            row(3, "person:1", "break_glass.opened", "break_glass:1"),
        ]
    )

    assert [(one["takes"], one["differ"]) for one in found] == [(1, None), (0, None), (1, None)]
    assert all(one["why"] for one in found)


def test_roles__given_changed_and_taken__are_spans_with_who_did_it() -> None:
    found = told.roles(
        [
            row(1, "system:seed", "person.created", "person:5", {"roles": ["viewer"], "environment": "all"}),
            row(2, "person:1", "role.changed", "person:5", {"roles": ["admin", "viewer"], "environment": "all"}),
            row(3, "person:1", "role.changed", "person:5", {"roles": ["auditor"], "environment": "demo"}),
            row(4, "person:2", "role.changed", "person:5", {"roles": ["viewer"], "environment": "all"}),
            row(5, "person:1", "person.teams_changed", "person:5", {"teams": ["security"]}),
        ]
    )

    said = [(one["name"], one["environment"], one["entry"], one["given_by"], one["taken_entry"]) for one in found]
    assert said == [
        ("viewer", "all", 1, "system:seed", None),
        ("admin", "all", 2, "person:1", 4),
        ("auditor", "demo", 3, "person:1", None),
        ("security", "all", 5, "person:1", None),
    ]
    assert found[1]["taken_by"] == "person:2"
    assert (found[1]["since"], found[1]["until"]) == (
        "2026-11-01T12:02:00.000000+00:00",
        "2026-11-01T12:04:00.000000+00:00",
    )


def test_phases__walked_aborted_and_walked_again__are_two() -> None:
    rows = [
        row(1, "person:1", "phase.started", "phase:3:1", {"title": "Alpha", "percents": [10, 50], "proposal": 4}),
        row(2, "rule:plan", "phase.stepped", "phase:3:1", {"percent": 50}),
        row(3, "person:1", "phase.paused", "phase:3:1"),
        row(4, "person:1", "phase.aborted", "phase:3:1"),
        row(5, "person:1", "phase.jumped", "phase:3:1", {"title": "Alpha", "percents": [10]}),
        row(6, "person:1", "phase.started", "phase:33:1", {"percents": [1]}),
    ]

    first, again = told.phases(rows, 3)

    assert [step["percent"] for step in first["steps"]] == [10, 50]
    assert (first["ended"]["how"], first["pauses"][0]["what"], first["proposal"]) == ("aborted", "paused", 4)
    assert (again["jumped"], again["ended"]) == (True, None)
