"""Raising in production: refused past a red gate by every door, proposed where only a yes is missing, kept when approved."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.models import Flag, FreezeWindow, Proposal, Release, TargetGroup, Waiver
from rollout.selectors import policy, procedure
from rollout.selectors.releases import checklist
from rollout.services import flags, groups, overrides, proposals
from rollout.services.freezes import freeze_end, freeze_make
from rollout.services.raising import NeedsApproval, Refused
from tests.rollout.walking import SYSTEM, approve, begin, devices, furnish, gates_pass, members, signers, somebody

pytestmark = pytest.mark.django_db
As = Callable[[object], Client]
TUNABLE = "litert_aggressive_gc"


@pytest.fixture(autouse=True)
def _furnished() -> None:
    furnish()


def percentage(key: str, percent: float, actor: Actor = SYSTEM) -> object:
    """Ask for a percentage in production."""
    revision = Flag.objects.get(environment="production", key=key).revision
    return proposals.change_or_propose(
        kind="flag.percentage",
        environment="production",
        payload={"key": key, "percent": percent, "expected_revision": revision},
        actor=actor,
        reason="More",
    )


RAISES: dict[str, Callable[[], object]] = {
    "percentage": lambda: flags.flag_percentage_set(
        environment="production", key="litert_enabled", percent=1, actor=SYSTEM, reason="x"
    ),
    "forced on": lambda: overrides.flag_override_set(
        environment="production", key="litert_enabled", variant="on", actor=SYSTEM, reason="x"
    ),
    "backend": lambda: flags.flag_percentage_set(
        environment="production", key="litert_gpu_backend", percent=1, actor=SYSTEM, reason="x"
    ),
    "page": lambda: percentage("litert_enabled", 1),
}


@pytest.mark.parametrize("door", RAISES)
def test_raise__past_a_red_gate__is_refused_by_every_door_and_changes_nothing(door: str) -> None:
    begin()
    seq = Head.objects.get().seq
    with pytest.raises(Refused, match="Gates: 22 open"):
        RAISES[door]()
    assert Head.objects.get().seq == seq
    assert not Proposal.objects.exists()


def test_raise__without_any_release__is_refused_because_no_gate_speaks_for_it() -> None:
    with pytest.raises(Refused, match="No release walks"):
        RAISES["percentage"]()


def test_raise__gates_green__waits_for_a_second_person_even_of_an_administrator() -> None:
    gates_pass(begin())
    admin = somebody("boss", Role.ADMIN)
    with pytest.raises(NeedsApproval):
        RAISES["percentage"]()
    made = percentage("litert_enabled", 1, Actor.person(admin))
    assert isinstance(made, Proposal)
    with pytest.raises(NotAllowed, match="somebody else"):
        approve(made, admin)
    done = approve(made, somebody("ana", Role.APPROVER))
    assert done.state == "applied"
    flag = Flag.objects.get(environment="production", key="litert_enabled")
    assert flag.percent == 1
    entry = HistoryEntry.objects.get(verb="flag.percentage_set")
    assert entry.cause is not None
    assert entry.cause.verb == "proposal.approved"
    assert entry.actor == f"person:{admin.pk}"


def test_lowering__needs_nobody__also_while_frozen_and_gates_are_red() -> None:
    begin()
    Flag.objects.filter(environment="production", key="litert_enabled").update(thousandths=25_000)
    freeze_make(
        environment="production",
        starts_at=clock.now(),
        ends_at=clock.now() + timedelta(hours=1),
        actor=SYSTEM,
        reason="Holiday",
    )
    assert flags.flag_percentage_set(
        environment="production", key="litert_enabled", percent=5, actor=SYSTEM, reason="Less"
    )
    assert overrides.kill(environment="production", actor=SYSTEM, reason="")


def test_reenable__undoing_a_kill__is_raising() -> None:
    gates_pass(begin())
    Flag.objects.filter(environment="production", key="litert_enabled").update(thousandths=25_000)
    overrides.kill(environment="production", actor=SYSTEM, reason="")
    with pytest.raises(NeedsApproval):
        overrides.reenable(environment="production", keys=["litert_enabled"], actor=SYSTEM, reason="Fixed")
    made = proposals.change_or_propose(
        kind="flag.reenable",
        environment="production",
        payload={"keys": ["litert_enabled"]},
        actor=SYSTEM,
        reason="Fixed",
    )
    assert approve(made, somebody("ana", Role.APPROVER)).state == "applied"
    assert Flag.objects.get(environment="production", key="litert_enabled").override_variant == ""


def test_reenable__a_drill_at_zero__raises_nothing() -> None:
    overrides.kill(environment="production", actor=SYSTEM, reason="Pre-deployment test")
    assert overrides.reenable(environment="production", keys=["litert_enabled"], actor=SYSTEM, reason="Drill over")


def test_freeze__open__holds_raises_until_it_ends() -> None:
    window = freeze_make(
        environment="demo",
        starts_at=clock.now(),
        ends_at=clock.now() + timedelta(hours=1),
        actor=SYSTEM,
        reason="Holiday",
    )
    with pytest.raises(Refused, match="Holiday"):
        flags.flag_percentage_set(environment="demo", key=TUNABLE, percent=5, actor=SYSTEM, reason="x")
    freeze_end(freeze=window, actor=SYSTEM, reason="Over")
    assert policy.freeze("demo") is None
    assert flags.flag_percentage_set(environment="demo", key=TUNABLE, percent=5, actor=SYSTEM, reason="x")


def test_freeze__without_end_or_in_the_past__is_refused() -> None:
    now = clock.now()
    for hours in (-1, 24 * 90):
        with pytest.raises(InvalidInput):
            freeze_make(
                environment="demo", starts_at=now, ends_at=now + timedelta(hours=hours), actor=SYSTEM, reason="x"
            )
    assert not FreezeWindow.objects.exists()


def test_edit__after_a_yes__lets_it_fall_and_makes_the_editor_a_maker() -> None:
    made = percentage(TUNABLE, 5)
    assert isinstance(made, Proposal)
    ana, sam = somebody("ana", Role.APPROVER), somebody("sam", Role.APPROVER)
    later = clock.now() + timedelta(days=1)
    edited = proposals.proposal_edit(
        proposal=made, edition=1, actor=Actor.person(ana), reason="Tomorrow", scheduled_at=later
    )
    approve(edited, sam)
    again = proposals.proposal_edit(
        proposal=edited, edition=2, actor=Actor.person(ana), reason="Sooner", scheduled_at=None
    )
    assert [one.fell_at is not None for one in again.approvals.all()] == [True]
    with pytest.raises(NotAllowed):
        approve(again, ana)
    with pytest.raises(Conflict, match="edited after you looked"):
        proposals.proposal_approve(proposal=again, edition=2, teams=[], actor=Actor.person(sam))
    assert approve(again, sam).state == "applied"


def test_scheduled__due__looks_at_every_line_again_and_stays_with_its_reason() -> None:
    gates_pass(begin())
    made = percentage("litert_enabled", 1)
    assert isinstance(made, Proposal)
    edited = proposals.proposal_edit(
        proposal=made, edition=1, actor=SYSTEM, reason="Tonight", scheduled_at=clock.now() + timedelta(hours=1)
    )
    assert approve(edited, somebody("ana", Role.APPROVER)).state == "open"
    Proposal.objects.update(scheduled_at=clock.now())
    Release.objects.update(model_digest="sha256:" + "cd" * 32)
    assert proposals.proposals_due() == 0
    assert proposals.proposals_due() == 0
    held = Proposal.objects.get()
    assert held.state == "open"
    assert "STALE" in held.refusal
    assert HistoryEntry.objects.filter(verb="proposal.held").count() == 1
    Release.objects.update(model_digest="sha256:" + "ab" * 32)
    assert proposals.proposals_due() == 1
    assert Flag.objects.get(environment="production", key="litert_enabled").percent == 1


def test_apply__flag_changed_meanwhile__is_a_conflict_and_keeps_the_yes() -> None:
    made = percentage(TUNABLE, 50)
    assert isinstance(made, Proposal)
    overrides.flag_override_set(environment="production", key=TUNABLE, variant="off", actor=SYSTEM, reason="x")
    with pytest.raises(Conflict, match="changed meanwhile"):
        approve(made, somebody("ana", Role.APPROVER))
    kept = Proposal.objects.get()
    assert (kept.state, kept.approvals.count()) == ("open", 1)
    assert "changed meanwhile" in kept.refusal


def test_approval__freezes_the_evidence_it_saw() -> None:
    gates_pass(begin())
    made = percentage("litert_enabled", 1)
    approve(made, somebody("ana", Role.APPROVER))
    seen = Proposal.objects.get().approvals.get().seen["evidence"]
    assert seen["model_digest"] == "sha256:" + "ab" * 32
    assert seen["boxes"]["memory_limit"] == "PASS"


def test_group__more_members_of_a_rule__is_raising_and_the_history_keeps_nobody() -> None:
    gates_pass(begin())
    flag = Flag.objects.get(environment="production", key="litert_enabled")
    flag.rules = [{"variant": "on", "thousandths": 100_000, "group": "internal_testers", "constraints": []}]
    flag.save()
    members("production", "internal_testers", ["one"])
    revision = TargetGroup.objects.get(environment="production", key="internal_testers").revision
    made = proposals.change_or_propose(
        kind="group.members",
        environment="production",
        payload={"key": "internal_testers", "members": ["one", "two"], "expected_revision": revision},
        actor=SYSTEM,
        reason="Two",
    )
    assert isinstance(made, Proposal)
    assert "two" not in str(HistoryEntry.objects.get(verb="proposal.made").after)
    fewer = groups.group_members_set(
        environment="production",
        key="internal_testers",
        members=[],
        expected_revision=revision,
        actor=SYSTEM,
        reason="None",
    )
    assert fewer is not None
    groups.device_erase("production", "two")
    assert Proposal.objects.get().payload["members"] == ["one"]


def test_waiver__with_a_second_person__opens_the_gate_until_it_ends() -> None:
    release = begin()
    gates_pass(release, but=("security_scan",))
    with pytest.raises(Refused, match="1 open"):
        RAISES["percentage"]()
    ends = clock.now() + timedelta(days=3)
    made = proposals.proposal_make(
        kind="waiver",
        environment="production",
        payload={"release": release.pk, "box": "security_scan", "owner": "M. Klein", "expires_at": ends.isoformat()},
        actor=SYSTEM,
        reason="Report is due on Monday",
    )
    assert approve(made, somebody("ana", Role.APPROVER)).state == "applied"
    row = next(row for group in checklist(release) for row in group.rows if row.box.key == "security_scan")
    assert (row.standing.passes, row.blocks) == (False, False)
    with pytest.raises(NeedsApproval):
        RAISES["percentage"]()
    Waiver.objects.update(expires_at=clock.now())
    with pytest.raises(Refused, match="1 open"):
        RAISES["percentage"]()


def test_waiver__nobody_but_its_maker__never_stands() -> None:
    release = begin("demo")
    made = proposals.proposal_make(
        kind="waiver",
        environment="demo",
        payload={
            "release": release.pk,
            "box": "security_scan",
            "owner": "M. Klein",
            "expires_at": (clock.now() + timedelta(days=3)).isoformat(),
        },
        actor=SYSTEM,
        reason="Later",
    )
    with pytest.raises(InvalidInput, match="second person"):
        proposals.proposal_apply(proposal=made, actor=SYSTEM)
    assert not Waiver.objects.exists()


def test_one_person_installation__says_so_instead_of_asking(settings: object) -> None:
    settings.ONE_PERSON_INSTALLATION = True  # type: ignore[attr-defined]
    assert flags.flag_percentage_set(environment="production", key=TUNABLE, percent=5, actor=SYSTEM, reason="x")


def test_approvals_in__an_environment_of_the_settings__asks_for_people_as_production_does(settings: object) -> None:
    actor = Actor.person(somebody("rel", Role.RELEASER))
    revision = Flag.objects.get(environment="staging", key=TUNABLE).revision
    given: dict[str, Any] = {"environment": "staging", "key": TUNABLE, "expected_revision": revision, "reason": "x"}
    settings.APPROVALS_IN = ["demo"]  # type: ignore[attr-defined]
    entry = flags.flag_percentage_set(**given, percent=5, actor=actor)
    assert entry is not None
    settings.APPROVALS_IN = ["staging"]  # type: ignore[attr-defined]
    given["expected_revision"] = Flag.objects.get(environment="staging", key=TUNABLE).revision
    with pytest.raises(NeedsApproval, match="a second person"):
        flags.flag_percentage_set(**given, percent=9, actor=actor)
    assert flags.flag_percentage_set(**given, percent=1, actor=actor), "lowering never waits"
    release = begin("staging")
    assert procedure.second_person_needed(release)
    gates_pass(release)
    devices("staging", 100)
    members("staging", "internal_testers", ["device-1"])
    made = proposals.change_or_propose(
        kind="phase.start",
        environment="staging",
        payload={"release": release.pk, "number": 1, "jump": False},
        actor=actor,
        reason="Go",
    )
    assert isinstance(made, Proposal)
    *most, last = signers()
    assert approve(made, *most).state == "open"
    assert approve(made, last).state == "applied"


def test_pages__raise_by_form__is_proposed_and_approved_in_the_browser(client_as: As) -> None:
    gates_pass(begin())
    devices("production", 3)
    maker, ana = somebody("rel", Role.RELEASER), somebody("ana", Role.APPROVER)
    flag = Flag.objects.get(environment="production", key="litert_enabled")
    form = {"percent": "1", "revision": flag.revision, "reason": "Begin"}
    answer = client_as(maker).post("/production/flags/litert_enabled/percentage", form, follow=True)
    page = answer.content.decode()
    assert "litert_enabled to 1 %" in page
    assert "Raising needs a second person" in page
    made = Proposal.objects.get()
    assert client_as(maker).post(f"/production/proposals/{made.pk}/approve", {"edition": "1"}).status_code == 403
    answer = client_as(ana).post(f"/production/proposals/{made.pk}/approve", {"edition": "1"}, follow=True)
    assert "Approved, and done." in answer.content.decode()
    assert "Approved by ana" in answer.content.decode() or "ana" in answer.content.decode()
    assert client_as(ana).get("/production/proposals").status_code == 200


def test_pages__freeze_and_waiver_forms__refuse_bad_input_with_a_sentence(client_as: As) -> None:
    release = begin()
    client = client_as(somebody("rel", Role.RELEASER))
    seq = Head.objects.get().seq
    said = client.post("/production/freezes/create", {"ends_at": "soon", "reason": "x"}, follow=True)
    assert "is not a time" in said.content.decode()
    where = f"/production/releases/{release.pk}/checklist/security_scan/waive"
    for given, sentence in (
        ({"owner": "", "expires_at": "2026-01-01T00:00", "reason": "x"}, "Say who answers"),
        ({"owner": "M", "expires_at": "2020-01-01T00:00", "reason": "x"}, "within 30 days"),
    ):
        assert sentence in client.post(where, given, follow=True).content.decode()
    assert Head.objects.get().seq == seq


def test_signers__are_the_three_teams(client_as: As) -> None:
    assert all(isinstance(one, User) for one in signers())
