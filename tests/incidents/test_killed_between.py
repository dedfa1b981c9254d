"""From a slow GPU to a review, by processes that are killed between any two steps: no page is lost, none is told twice.

Every step is tried by a process that dies just before its commit, by one that dies just after it, and by one that lives;
messages also by one that dies after the other side took it. Slack says 429 and 500 on the way.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_string
from typing import Any

import pytest

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import history_verify
from hawkops.scripts.models import Run
from incidents.domain.incidents import Move
from incidents.models import Delivery, Escalation, Incident, IncidentReview, Rotation
from incidents.selectors.recovery import CHECKS
from incidents.services import channels, escalations, oncall
from incidents.services.auditing import audit
from incidents.services.dispatching import dispatch_all
from incidents.services.escalations import escalate
from incidents.services.following import incidents_follow
from incidents.services.incidents import incident_move
from incidents.services.recovery import recoveries_due
from incidents.services.reviews import review_draft
from incidents.services.sending import send_due
from monitoring.models import StoredCriterion
from monitoring.services.alerts import alerts_evaluate
from rollout.models import Flag
from rollout.services import overrides
from tests.incidents.conftest import ALL, SYSTEM
from tests.incidents.deadly import Deaths
from tests.incidents.sinks import Mail, Sink, http_sink
from tests.monitoring import rows
from tests.rollout.walking import furnish

pytestmark = [pytest.mark.story, pytest.mark.fresh_database]
ENVIRONMENT = "staging"
GPU = "alert-gpu-throughput"
SLOW, FAST = 900.0, 2_400.0
STEP, MINUTE = timedelta(seconds=30), timedelta(minutes=1)
START = datetime.fromisoformat("2026-11-30T10:00:00+00:00")


def evaluate() -> None:
    """Look at staging's alerts."""
    alerts_evaluate(environments=[ENVIRONMENT])


# what must have been tried, whatever else there is
BOUNDARIES = {
    "commit in alerts_evaluate > _environment_evaluate > _judge > moves",
    "commit in incidents_follow > follow",
    "commit in dispatch_all > dispatch",
    "commit in escalate > read_on > _read_chunk",
    "commit in escalate > run_due > _run",
    "commit in audit > _rows",
    "commit in send_due > claim_next",
    "send to slack",
    "send to pagerduty",
    "send to email",
    "commit in send_due > attempt > _receipt",
    "commit in incident_move",
    "commit in backend_disable > _overrides_set",
    "commit in recoveries_due > run_request",
    "commit in review_draft",
}
# of senders of one message: after the claim, before and after it was sent, before and after its receipt (which counts)
DEATHS = 4
WORK: tuple[Callable[[], object], ...] = (evaluate, incidents_follow, dispatch_all, escalate, audit, recoveries_due)


@dataclass
class World:
    """Staging with a GPU that is slow or not, whoever is told, and processes that die."""

    slack: Sink
    pager: Sink
    mail: Mail
    deaths: Deaths = field(default_factory=Deaths)
    speed: float = SLOW

    def live(self, rounds: int) -> None:
        """Let time pass: each half a minute devices report, and every sweeper does its round."""
        for _ in range(rounds):
            clock.step_to(clock.now() + STEP)
            self.report()
            for work in WORK:
                self.deaths.until_done(work)
            self.deaths.until_done(send_due, after_a_death=self.lease_ends)

    def lease_ends(self) -> None:
        """Let what a dead sender held be free, as it is a minute later."""
        Delivery.objects.filter(leased_until__gt=clock.now()).update(leased_until=clock.now())

    def report(self) -> None:
        """Store what a device reports of ten seconds."""
        where: dict[str, Any] = {"environment": ENVIRONMENT, "device_class": "snapdragon-8-gen3", "variant": "on"}
        for backend, speed in (("gpu", self.speed), ("cpu", 300.0)):
            rows.stored(
                "litert.prefill.throughput",
                [speed] * 20,
                clock.now() - STEP,
                requested=backend,
                actual=backend,
                **where,
            )

    def by_hand(self, press: Callable[[], object]) -> None:
        """Let a person press until an answer comes; one whose first press counted is told that it did."""

        def pressed() -> None:
            with suppress(Conflict):
                press()

        self.deaths.until_done(pressed)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: Any, mail: Mail) -> Iterator[World]:
    """Staging as it is before; GPU throughput pages."""
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
    clock.step_to(START)
    with ExitStack() as stack:
        stack.callback(clock.step_to, None)
        found = World(stack.enter_context(http_sink()), stack.enter_context(http_sink()), mail)
        settings.PAGERDUTY_URL = found.pager.url
        furnish()
        rule = StoredCriterion.objects.get(key=GPU)
        rule.document["severity"] = "critical"
        rule.save()
        Flag.objects.filter(environment=ENVIRONMENT, key__startswith="litert_").update(thousandths=100_000)
        channels.routes_seed(actor=SYSTEM)
        oncall.oncall_seed(actor=SYSTEM)
        escalations.policies_seed(actor=SYSTEM)
        yield found


@pytest.fixture
def ana(world: World, person: Callable[..., Any]) -> User:
    """On call, by mail; the team has Slack and PagerDuty."""
    found: User = person("ana", Role.OPERATOR)
    Rotation.objects.create(
        environment=ENVIRONMENT, people=[found.pk], begins_on=START.date(), handover=START.time(), length_days=7
    )
    for kind, address, whose in (
        ("slack", f"{world.slack.url}/services/T000/B000/s3cretpath", None),
        ("pagerduty", "R" * 32, None),
        ("email", "ana@example.com", found),
    ):
        channels.channel_create(
            environment=ENVIRONMENT, name=kind, kind=kind, address=address, rules=ALL, person=whose, actor=SYSTEM
        )
    dispatch_all()
    escalations.read_on()
    incidents_follow()
    return found


def times(verb: str, subject: str) -> int:
    """Count how often the history says something of a subject."""
    return HistoryEntry.objects.filter(environment=ENVIRONMENT, verb=verb, subject=subject).count()


def test_regression__processes_killed_at_each_boundary__is_told_once_and_ends_in_a_review(
    world: World, ana: User
) -> None:
    # of the first three messages that Slack gets it rests, of three more it says that it is down
    busy: tuple[int, str, dict[str, str]] = (429, "rate_limited", {"Retry-After": "30"})
    world.slack.answer(busy, busy, busy, (500, "down"), (500, "down"), (500, "down"), (200, "ok"))
    actor = Actor.person(ana)

    # a regression becomes an alert, an incident and a page
    world.live(5)
    incident = Incident.objects.get(environment=ENVIRONMENT, title="GPU throughput")
    escalation = Escalation.objects.get(environment=ENVIRONMENT, key=f"incident:{incident.pk}")
    assert (incident.severity, incident.state, escalation.state) == ("critical", "open", "running")

    # somebody takes it, disables the backend, and devices recover
    where: dict[str, Any] = {"environment": ENVIRONMENT, "incident_id": incident.pk, "actor": actor}
    world.by_hand(lambda: incident_move(move=Move.ACKNOWLEDGE, **where))
    world.live(2)
    escalation.refresh_from_db()
    assert escalation.state == "acknowledged"
    world.by_hand(
        lambda: overrides.backend_disable(
            environment=ENVIRONMENT, backend="gpu", actor=actor, reason="Stability issues"
        )
    )
    world.speed = FAST
    world.live(13)
    incident.refresh_from_db()
    assert incident.state == "mitigated"

    # its checks are asked for once, half an hour after the press
    clock.step_to(clock.now() + 25 * MINUTE)
    world.live(2)
    asked = Counter(Run.objects.filter(environment=ENVIRONMENT).values_list("script", flat=True))
    assert asked == Counter(script for script, *_ in CHECKS)
    world.by_hand(lambda: incident_move(move=Move.RESOLVE, **where))
    world.by_hand(lambda: review_draft(**where))
    world.live(3)

    happened_once(incident)
    every_message_arrived(world)
    assert history_verify(requested_by="test").bad_seq is None
    print(f"{sum(world.deaths.died.values())} processes were killed at {len(world.deaths.died)} boundaries:")
    for label, number in world.deaths.died.most_common():
        print(f"{number:5} {label}")
    assert set(world.deaths.died) >= BOUNDARIES


def happened_once(incident: Incident) -> None:
    """Each step stands once in the history, whoever died on the way."""
    incident.refresh_from_db()
    escalation = Escalation.objects.get(environment=ENVIRONMENT, key=f"incident:{incident.pk}")
    assert (incident.state, escalation.state) == ("resolved", "ended")
    moves = ("opened", "acknowledged", "mitigated", "resolved")
    assert [times(f"incident.{move}", incident.subject) for move in moves] == [1] * len(moves)
    assert [times(f"escalation.{move}", escalation.subject) for move in ("begun", "ended")] == [1, 1]
    # who pressed again, unanswered, had the facts of the same review drawn anew
    assert IncidentReview.objects.filter(incident=incident).count() == 1
    assert times("flag.override_set", "flag:litert_gpu_backend") == 1
    assert Counter(HistoryEntry.objects.filter(environment=ENVIRONMENT).values_list("verb", flat=True))[
        "alert.fired"
    ] == (Incident.objects.filter(environment=ENVIRONMENT).count())


def every_message_arrived(world: World) -> None:
    """What came twice came under its own key; what Slack put off has its receipts and its delay."""
    rows = list(Delivery.objects.select_related("channel").prefetch_related("receipts").order_by("pk"))
    assert {row.state for row in rows} == {"sent"}
    assert {row.attempts for row in rows} >= {DEATHS + 1}, "each sender died before, within and after"
    for row in rows:
        receipts = list(row.receipts.order_by("number"))
        assert [one.number for one in receipts] == list(range(1, row.attempts + 1))
        assert sum("may have arrived" in one.answer for one in receipts) >= DEATHS
        assert receipts[-1].outcome == "accepted"
    by_channel = {name: [row for row in rows if row.channel.name == name] for name in ("slack", "pagerduty", "email")}
    # PagerDuty: one key for a thread, and one event of a kind under it, however often it came
    told = {(got.json["event_action"], got.json["dedup_key"]) for got in world.pager.got}
    assert told == {(row.action, row.thread) for row in by_channel["pagerduty"]}
    ids = {message_from_string(text)["Message-ID"].strip("<>").partition("@")[0] for text in world.mail.took}
    assert ids == {row.key for row in by_channel["email"]}
    for row in by_channel["slack"]:
        assert any(row.title in got.json["text"] for got in world.slack.got), row.title
    put_off = by_channel["slack"][0]
    assert {one.status for row in by_channel["slack"] for one in row.receipts.all()} >= {429, 500, 200}
    assert put_off.delay is not None
    assert put_off.delay >= timedelta(seconds=30)
