"""Security lockdown: what one press does, that every raise is refused while it stands, and that two people lift it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.errors import Conflict, NotAllowed, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.domain.targeting import Rule, constraint
from rollout.models import Flag, Lockdown, PhaseRun, Proposal, TargetGroup
from rollout.selectors import policy
from rollout.services import flags, groups, overrides, phases, proposals
from rollout.services.lockdown import lockdown_begin, lockdown_lift, lockdown_lift_ask, lockdown_lift_withdraw
from rollout.services.raising import Authority, NeedsApproval, Refused
from rollout.services.rollback import rollback
from tests.rollout.test_phases import start
from tests.rollout.walking import begin, devices, furnish, gates_pass, members, somebody

pytestmark = pytest.mark.django_db
STAGING = "staging"
ANNA, BEN = Actor("person:71", "anna"), Actor("person:72", "ben")


@pytest.fixture(autouse=True)
def _furnished() -> None:
    furnish()


def lock(**given: Any) -> Lockdown:
    """Put staging into lockdown."""
    return lockdown_begin(environment=STAGING, actor=ANNA, **given)[0]


def flag(key: str = "litert_enabled") -> Flag:
    """A flag of staging."""
    return Flag.objects.get(environment=STAGING, key=key)


def set_to(key: str, percent: float) -> None:
    """Let a flag stand at a percentage, as data that is there."""
    Flag.objects.filter(environment=STAGING, key=key).update(thousandths=round(percent * 1000))


def lifted() -> Lockdown:
    """Let two people lift it."""
    lockdown_lift_ask(environment=STAGING, actor=ANNA, reason="Key rotated")
    return lockdown_lift(environment=STAGING, actor=BEN)


# ---- the press ----


def test_begin__one_press__is_off_fallback_on_and_one_transaction_with_its_entries() -> None:
    found, made = lockdown_begin(environment=STAGING, actor=ANNA, request_id="r1")
    assert made
    assert (found.severity, found.reason, found.by, found.reference) == (
        "high", "Security incident detected", "anna", "person:71",
    )  # fmt: skip
    assert (flag().override_variant, flag("ai_fallback_to_cloud").override_variant) == ("off", "on")
    began, killed = HistoryEntry.objects.filter(verb__in=["lockdown.started", "flag.killed"]).order_by("seq")
    assert (began.verb, began.subject, began.reason) == (
        "lockdown.started",
        found.subject,
        "Security incident detected",
    )
    assert (killed.verb, killed.reason) == ("flag.killed", "Lockdown: Security incident detected")
    assert found.entry == began.seq == killed.seq - 1
    assert Lockdown.objects.get().entry == began.seq
    assert {began.request_id, killed.request_id} == {"r1"}


def test_begin__again__finds_it_standing_and_changes_nothing() -> None:
    first = lock(reason="Forged model")
    seq = Head.objects.get().seq
    again, made = lockdown_begin(environment=STAGING, actor=BEN, reason="Another", severity="low")
    assert (again.pk, made, again.reason, again.severity) == (first.pk, False, "Forged model", "high")
    assert Head.objects.get().seq == seq


def test_begin__whatever_is_missing_or_odd__is_never_refused() -> None:
    found = lock(reason="  \x00 ", severity="apocalyptic")
    assert (found.reason, found.severity) == ("Security incident detected", "high")


def test_begin__where_it_is_killed_already__keeps_that_and_freezes() -> None:
    overrides.kill(environment=STAGING, actor=BEN, reason="Heat")
    lock()
    assert (flag().override_by, HistoryEntry.objects.filter(verb="flag.killed").count()) == ("ben", 1)
    assert policy.lockdown(STAGING) is not None


@pytest.mark.parametrize("reason", [overrides.DRILL, ""])
def test_begin__during_a_drill__takes_it_over_so_that_its_end_restores_nothing(reason: str) -> None:
    overrides.kill(environment=STAGING, actor=BEN, reason=overrides.DRILL)
    lock(reason=reason)
    assert flag().override_by == "anna"
    assert not flag().override_reason.startswith(overrides.DRILL)


def test_begin__elsewhere__is_of_no_concern_here() -> None:
    lockdown_begin(environment="demo", actor=ANNA)
    assert policy.lockdown(STAGING) is None
    flags.flag_percentage_set(environment=STAGING, key="litert_enabled", percent=5, actor=ANNA, reason="Go")


def test_table__a_second_standing_one_or_lifting_without_asking__is_refused_by_the_database() -> None:
    lock()
    row = {"environment": STAGING, "by": "x", "reference": "x", "at": clock.now()}
    with pytest.raises(IntegrityError), transaction.atomic():
        Lockdown.objects.create(**row)
    with pytest.raises(IntegrityError), transaction.atomic():
        Lockdown.objects.update(lifted_at=clock.now())
    Lockdown.objects.create(**{**row, "environment": "demo"})


# ---- every raise is refused ----

WHERE = (constraint("os.api", "is at least", "34"),)


def _percentage() -> None:
    flags.flag_percentage_set(environment=STAGING, key="litert_gpu_backend", percent=50, actor=BEN, reason="Go")


def _rules() -> None:
    flags.flag_rules_set(
        environment=STAGING, key="litert_gpu_backend", rules=[Rule("on", 100_000)], pinned={},
        expected_revision=flag("litert_gpu_backend").revision, actor=BEN, reason="Go",
    )  # fmt: skip


def _pin() -> None:
    flags.flag_rules_set(
        environment=STAGING, key="litert_gpu_backend", rules=[], pinned={"device-1": "on"},
        expected_revision=flag("litert_gpu_backend").revision, actor=BEN, reason="Go",
    )  # fmt: skip


def _forced() -> None:
    overrides.flag_override_set(environment=STAGING, key="litert_gpu_backend", variant="on", actor=BEN, reason="Go")


def _litert_forced() -> None:
    overrides.flag_override_set(environment=STAGING, key="litert_enabled", variant="on", actor=BEN, reason="Go")


def _scoped() -> None:
    overrides.flag_scoped_override_set(
        environment=STAGING, key="litert_gpu_backend", variant="on", constraints=WHERE, actor=BEN, reason="Go"
    )


def _cleared() -> None:
    overrides.flag_override_clear(environment=STAGING, key="litert_enabled", actor=BEN, reason="Go")


def _fallback_cleared() -> None:
    overrides.flag_override_clear(environment=STAGING, key="ai_fallback_to_cloud", actor=BEN, reason="Go")


def _reenabled() -> None:
    overrides.reenable(environment=STAGING, keys=["litert_enabled", "ai_fallback_to_cloud"], actor=BEN, reason="Go")


def _members() -> None:
    groups.group_members_set(
        environment=STAGING, key="internal_testers", members=["device-9"],
        expected_revision=TargetGroup.objects.get(environment=STAGING, key="internal_testers").revision,
        actor=BEN, reason="Go",
    )  # fmt: skip


RAISES = (_percentage, _rules, _pin, _forced, _litert_forced, _scoped, _cleared, _fallback_cleared, _reenabled)


@pytest.mark.parametrize("percent", [0, 20])
@pytest.mark.parametrize("rise", RAISES, ids=lambda one: one.__name__)
def test_raise__while_it_stands__is_refused_and_changes_nothing(rise: Callable[[], None], percent: float) -> None:
    set_to("litert_enabled", percent)
    lock()
    seq = Head.objects.get().seq
    with pytest.raises(Refused, match="Lockdown: In lockdown since") as refusal:
        rise()
    assert not isinstance(refusal.value, NeedsApproval)
    assert Head.objects.get().seq == seq
    assert (flag().override_variant, flag("ai_fallback_to_cloud").override_variant) == ("off", "on")


def test_raise__by_more_members_of_a_served_group__is_refused() -> None:
    flags.flag_rules_set(
        environment=STAGING, key="litert_gpu_backend", rules=[Rule("on", 100_000, "internal_testers")], pinned={},
        expected_revision=flag("litert_gpu_backend").revision, actor=BEN, reason="Go",
    )  # fmt: skip
    lock()
    with pytest.raises(Refused, match="Lockdown"):
        _members()


@pytest.mark.parametrize("one_person", [False, True])
def test_raise__approved_or_one_person__is_refused_all_the_same(settings: Any, one_person: bool) -> None:
    settings.ONE_PERSON_INSTALLATION = one_person
    lock()
    authority = Authority(frozenset([BEN.reference]), plan_of=7)
    with pytest.raises(Refused, match="Lockdown"):
        flags.flag_percentage_set(
            environment=STAGING, key="litert_gpu_backend", percent=5, actor=BEN, reason="Go", authority=authority
        )


def test_lowering_and_kills__while_it_stands__work_as_ever() -> None:
    set_to("litert_gpu_backend", 80)
    begin(STAGING)
    lock()
    flags.flag_percentage_set(environment=STAGING, key="litert_gpu_backend", percent=40, actor=BEN, reason="Less")
    assert overrides.backend_disable(environment=STAGING, backend="gpu", actor=BEN, reason="") is not None
    assert overrides.kill(environment=STAGING, actor=BEN, reason="Again") is None
    assert rollback(environment=STAGING, level=2, actor=BEN, reason="Stability issues") is not None
    with pytest.raises(Refused, match="Lockdown"):
        overrides.flag_override_clear(environment=STAGING, key="litert_gpu_backend", actor=BEN, reason="Go")


def test_lifted__raises_are_free_again_and_litert_is_off_until_it_is_re_enabled() -> None:
    lock()
    lifted()
    assert (flag().override_variant, flag("ai_fallback_to_cloud").override_variant) == ("off", "on")
    _percentage()
    assert flag("litert_gpu_backend").percent == 50
    _reenabled()
    assert flag().override_variant == ""


def test_step_of_a_plan__that_is_due__waits_and_says_why() -> None:
    release = begin(STAGING)
    gates_pass(release)
    devices(STAGING, 100, said={"os.api": 34, "device.memory_mb": 8_000})
    members(STAGING, "internal_testers", [f"device-{index}" for index in range(4)])
    PhaseRun.objects.filter(pk=start(release, 1).pk).update(next_at=clock.now() - timedelta(seconds=1))
    lock(reason="Forged model")
    assert phases.phases_due() == 0
    held = PhaseRun.objects.get()
    assert held.held.startswith("Lockdown: In lockdown since ")
    assert held.held.endswith("by anna, severity high: Forged model.")
    assert HistoryEntry.objects.filter(verb="phase.held").count() == 1
    assert phases.phases_due() == 0
    assert HistoryEntry.objects.filter(verb="phase.held").count() == 1


def test_start_of_a_phase__while_it_stands__is_refused() -> None:
    release = begin(STAGING)
    gates_pass(release)
    devices(STAGING, 100, said={"os.api": 34, "device.memory_mb": 8_000})
    members(STAGING, "internal_testers", ["device-0"])
    lock()
    with pytest.raises(Refused, match="Lockdown: In lockdown"):
        start(release, 1)
    assert not PhaseRun.objects.exists()


def test_proposal__while_it_stands__keeps_its_yes_waits_and_says_why(settings: Any) -> None:
    settings.APPROVALS_IN = [STAGING]
    made = proposals.proposal_make(
        kind="flag.percentage", environment=STAGING, actor=BEN, reason="Go",
        payload={"key": "litert_gpu_backend", "percent": 10, "expected_revision": flag("litert_gpu_backend").revision},
        scheduled_at=clock.now() + timedelta(minutes=5),
    )  # fmt: skip
    lock()
    carla = somebody("carla", Role.APPROVER)
    proposals.proposal_approve(proposal=made, edition=1, teams=[], actor=Actor.person(carla))
    Proposal.objects.update(scheduled_at=clock.now() - timedelta(seconds=1))
    assert proposals.proposals_due() == 0
    held = Proposal.objects.get()
    assert (held.state, "Lockdown: In lockdown since" in held.refusal) == ("open", True)
    assert held.approvals.filter(fell_at=None).count() == 1
    assert {need.key for need in proposals.decision_of(held).missing} == {"lockdown"}
    with pytest.raises(Refused, match="Lockdown"):
        proposals.change_or_propose(
            kind="flag.reenable", environment=STAGING, payload={"keys": ["litert_enabled"]}, actor=BEN, reason="Go"
        )
    assert Proposal.objects.count() == 1


# ---- two people lift it ----


def test_lift__asked_and_confirmed_by_two__ends_the_freeze_with_two_entries() -> None:
    lock()
    asked = lockdown_lift_ask(environment=STAGING, actor=ANNA, reason="Key rotated")
    assert (asked.stands, asked.asked_by, asked.asked_reason) == (True, "anna", "Key rotated")
    assert policy.lockdown(STAGING) is not None
    found = lockdown_lift(environment=STAGING, actor=BEN)
    assert (found.stands, found.lifted_by) == (False, "ben")
    assert policy.lockdown(STAGING) is None
    said = HistoryEntry.objects.filter(verb__startswith="lockdown.lift").order_by("seq")
    assert [(one.verb, one.actor, one.reason) for one in said] == [
        ("lockdown.lift_asked", "person:71", "Key rotated"),
        ("lockdown.lifted", "person:72", "Key rotated"),
    ]
    assert lockdown_begin(environment=STAGING, actor=BEN)[1]


def test_lift__by_the_one_who_asked__is_refused_and_nothing_changes() -> None:
    lock()
    with pytest.raises(Conflict, match="Nobody asks"):
        lockdown_lift(environment=STAGING, actor=BEN)
    lockdown_lift_ask(environment=STAGING, actor=BEN)
    assert Lockdown.objects.get().asked_reason == "No reason given"
    seq = Head.objects.get().seq
    with pytest.raises(NotAllowed, match="somebody else must confirm"):
        lockdown_lift(environment=STAGING, actor=BEN)
    assert (Head.objects.get().seq, Lockdown.objects.get().stands) == (seq, True)
    # whoever pressed may confirm what another one asked
    assert not lockdown_lift(environment=STAGING, actor=ANNA).stands


def test_lift__in_a_one_person_installation__by_the_same_person(settings: Any) -> None:
    settings.ONE_PERSON_INSTALLATION = True
    lock()
    lockdown_lift_ask(environment=STAGING, actor=ANNA)
    assert not lockdown_lift(environment=STAGING, actor=ANNA).stands


def test_lift__asked_by_a_token__is_not_confirmed_by_who_made_it() -> None:
    lock()
    maker = somebody("maker", Role.ADMIN)
    token, _ = api_token_create(
        environment=STAGING, name="night", scopes=[Scope.FLAGS_WRITE], actor=Actor.person(maker), created_by=maker
    )
    lockdown_lift_ask(environment=STAGING, actor=Actor.token(token))
    with pytest.raises(NotAllowed, match="somebody else"):
        lockdown_lift(environment=STAGING, actor=Actor.person(maker))
    assert not lockdown_lift(environment=STAGING, actor=BEN).stands


def test_lift__withdrawn__must_be_asked_anew() -> None:
    lock()
    with pytest.raises(Conflict, match="Nobody asks"):
        lockdown_lift_withdraw(environment=STAGING, actor=ANNA)
    first = lockdown_lift_ask(environment=STAGING, actor=ANNA)
    assert first.asked_at is not None
    with pytest.raises(Conflict, match="anna asks already"):
        lockdown_lift_ask(environment=STAGING, actor=BEN)
    lockdown_lift_withdraw(environment=STAGING, actor=BEN)
    assert Lockdown.objects.get().asked_at is None
    with pytest.raises(Conflict, match="Nobody asks"):
        lockdown_lift(environment=STAGING, actor=BEN)
    lockdown_lift_ask(environment=STAGING, actor=ANNA, reason="Other words")
    with pytest.raises(Conflict, match="asked anew"):
        lockdown_lift(environment=STAGING, actor=BEN, asked_at=first.asked_at.isoformat())


def test_lift__without_one__is_not_found() -> None:
    for act in (lockdown_lift_ask, lockdown_lift_withdraw, lockdown_lift):
        with pytest.raises(NotFound, match="No lockdown stands"):
            act(environment=STAGING, actor=ANNA)
