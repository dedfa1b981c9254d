"""A GPU regression in the simulated fleet, from its alert to a review draft, by real processes that are killed on the way.

At each step everything that opens incidents, pages and sends is killed by SIGKILL and started again; Valkey dies too; Slack
asks to be left alone and then fails. `tests/incidents/test_killed_between.py` tries each commit.
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create, device_key_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.fleet.scenarios import REGRESSED_DRIVER
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import history_verify
from hawkops.scripts.models import Run
from incidents.domain.review import Took
from incidents.models import Delivery, Escalation, Incident, Rotation
from incidents.selectors.recovery import CHECKS
from incidents.services import channels, escalations, oncall
from incidents.services.reviews import review_draft
from monitoring.models import Alert, StoredCriterion, StoredSection
from rollout.domain.targeting import Constraint, Operator
from rollout.models import CensusDevice, Flag
from rollout.services.rollback import rollback
from tests.incidents.conftest import ALL, SYSTEM
from tests.incidents.sinks import Mail, Sink, http_sink, mail_sink
from tests.installation import ROOT
from tests.rollout.walking import furnish
from tests.stories.processes import BACKGROUND, Processes, processes, wait_for

pytestmark = [pytest.mark.story, pytest.mark.fresh_database]
ENVIRONMENT, GPU = "demo", "alert-gpu-throughput"
DEVICES = 60


def hurry() -> None:
    """Watch the GPU's throughput over a minute and page for it; a minute of stability is enough."""
    rule = StoredCriterion.objects.get(key=GPU)
    rule.document |= {"severity": "critical", "window": "1m", "for": "10s"}
    rule.save()
    # what else a small fleet is too small for is not this story's
    StoredCriterion.objects.filter(purpose="alert").exclude(key=GPU).delete()
    section = StoredSection.objects.get(key="rules")
    section.document["stable_for"] = "1m"
    section.save()
    flags = ("litert_enabled", "litert_gpu_backend")
    Flag.objects.filter(environment=ENVIRONMENT, key__in=flags).update(thousandths=100_000)


def tell(person: Any, slack: Sink) -> None:
    """Put somebody on call, who is told by mail; the team has Slack and PagerDuty."""
    channels.routes_seed(actor=SYSTEM)
    oncall.oncall_seed(actor=SYSTEM)
    escalations.policies_seed(actor=SYSTEM)
    now = clock.now()
    Rotation.objects.create(
        environment=ENVIRONMENT,
        people=[person.pk],
        begins_on=now.date(),
        handover=now.time().replace(hour=0, minute=0),
        length_days=7,
    )
    for kind, address, whose in (
        ("slack", f"{slack.url}/services/T000/B000/s3cretpath", None),
        ("pagerduty", "R" * 32, None),
        ("email", "ana@example.com", person),
    ):
        channels.channel_create(
            environment=ENVIRONMENT, name=kind, kind=kind, address=address, rules=ALL, person=whose, actor=SYSTEM
        )


def alert() -> Alert | None:
    """The alert, as it is stored."""
    return Alert.objects.filter(environment=ENVIRONMENT, key=GPU).order_by("-pk").first()


def in_state(state: str) -> bool:
    """Whether the alert is that far."""
    found = alert()
    return found is not None and found.state == state


def incident() -> Incident | None:
    """The incident that it opened."""
    return Incident.objects.filter(environment=ENVIRONMENT, title="GPU throughput").first()


def settled() -> bool:
    """Whether everything was told."""
    return not Delivery.objects.filter(state="pending").exists()


def test_gpu_regression__everything_killed_at_each_step__ends_in_a_review_and_nobody_is_told_twice(
    data_folder: Path, person: Callable[..., Any]
) -> None:
    furnish()
    hurry()
    with http_sink() as slack, http_sink() as pager, mail_sink() as mail:
        slack.answer((429, "rate_limited", {"Retry-After": "5"}), (500, "down"), (200, "ok"))
        channels_env = {
            "SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
            "PAGERDUTY_URL": pager.url,
            "OUTBOUND_PRIVATE": "1",
        }
        with pytest.MonkeyPatch.context() as patch, processes(data_folder, **channels_env) as system:
            patch.setenv("OUTBOUND_PRIVATE", "1")
            tell(person("ana", Role.OPERATOR), slack)
            try:
                story(system)
            except BaseException:
                print(system.said())
                raise
            wait_for(settled, 180, "everything is told")
            told_once(slack, pager, mail)
            print(f"killed: {dict(Counter(system.killed))}")


def story(system: Processes) -> None:
    """Live through it."""
    scopes = [Scope.READ, Scope.INCIDENTS_WRITE, Scope.KILL]
    _, secret = api_token_create(environment=ENVIRONMENT, name="phone", scopes=scopes, actor=SYSTEM)
    _, key = device_key_create(environment=ENVIRONMENT, name="fleet", actor=SYSTEM)
    phone = httpx.Client(
        base_url=f"{system.console}/api/v1/{ENVIRONMENT}", headers={"Authorization": f"Bearer {secret}"}, timeout=60
    )
    system.start("gateway", *BACKGROUND, "second-path")
    fleet = (sys.executable, str(ROOT / "manage.py"), "fleet", "--scenario", "gpu-regression", "--steady")
    system.run(
        "fleet", *fleet, "--devices", str(DEVICES), "--report", "5", "--gateway", system.gateway, "--key", key
    )  # fmt: skip

    # an alert becomes an incident and pages, whoever dies
    wait_for(lambda: in_state("pending") or in_state("firing"), 150, "the alert is pending")
    system.kill("alerts")
    wait_for(lambda: in_state("firing"), 150, "the alert fires")
    system.kill(*BACKGROUND)
    system.valkey_restart()
    wait_for(incident, 120, "an incident is open")
    system.kill(*BACKGROUND)
    found = incident()
    assert found is not None
    wait_for(lambda: Escalation.objects.filter(key=f"incident:{found.pk}").exists(), 120, "it escalates")
    system.kill(*BACKGROUND)
    wait_for(settled, 240, "it is told, by Slack too")

    # somebody takes it and rolls back
    assert phone.post(f"/incidents/{found.pk}/move", json={"move": "acknowledge"}).status_code == 200
    system.kill(*BACKGROUND)
    wait_for(
        lambda: Escalation.objects.get(key=f"incident:{found.pk}").state == "acknowledged", 120, "nobody else is told"
    )
    # the driver alone: the other devices keep their GPU, and show that it is well again
    driver = Constraint("device.gpu.driver", Operator.IS, (REGRESSED_DRIVER,))
    ana = Actor.person(User.objects.get(username="ana"))
    made = rollback(environment=ENVIRONMENT, level=2, backends=["gpu"], cohorts=[[driver]], actor=ana)
    assert made is not None
    system.kill(*BACKGROUND)
    wait_for(lambda: struck_on_gpu() == 0, 120, "devices obey")

    # devices recover, and so does the incident
    wait_for(lambda: in_state("resolved"), 300, "the alert is over")
    system.kill(*BACKGROUND)
    wait_for(lambda: Incident.objects.get(pk=found.pk).state == "mitigated", 120, "it is mitigated")
    wait_for(
        lambda: Run.objects.filter(environment=ENVIRONMENT).exclude(finished_at=None).count() == len(CHECKS),
        240,
        "checks end",
    )
    checked = Counter(Run.objects.filter(environment=ENVIRONMENT).values_list("script", flat=True))
    assert checked == Counter(script for script, *_ in CHECKS)
    assert phone.post(f"/incidents/{found.pk}/move", json={"move": "resolve"}).status_code == 200
    wait_for(lambda: Escalation.objects.get(key=f"incident:{found.pk}").state == "ended", 120, "the escalation ends")

    review = review_draft(environment=ENVIRONMENT, incident_id=found.pk, actor=SYSTEM)
    took = {one.key: one.seconds for one in (Took(**row) for row in review.facts["times"])}
    print({key: seconds for key, seconds in took.items() if seconds is not None})
    assert all(took[key] is not None for key in ("detect", "page", "acknowledge", "mitigate", "resolve"))
    assert (verified := history_verify(requested_by="story")).bad_seq is None, verified.why


def struck_on_gpu() -> int:
    """How many devices with the driver were last served the GPU."""
    told = CensusDevice.objects.filter(environment=ENVIRONMENT, served_on__contains=["litert_gpu_backend"])
    return told.filter(attributes__contains={"device.gpu.driver": REGRESSED_DRIVER}).count()


def told_once(slack: Sink, pager: Sink, mail: Mail) -> None:
    """Each message arrived; what came twice came under one key, and a receipt says why."""
    rows = list(Delivery.objects.select_related("channel").order_by("pk"))
    assert {row.state for row in rows} == {"sent"}
    by_pager = [row for row in rows if row.channel.name == "pagerduty"]
    arrived = Counter((got.json["event_action"], got.json["dedup_key"]) for got in pager.got)
    assert set(arrived) == {(row.action, row.thread) for row in by_pager}
    for row in rows:
        receipts = list(row.receipts.order_by("number"))
        assert [one.number for one in receipts] == list(range(1, row.attempts + 1))
    assert len(pager.got) <= sum(row.attempts for row in by_pager)
    assert len(slack.got) <= sum(row.attempts for row in rows if row.channel.name == "slack")
    assert len(mail.took) <= sum(row.attempts for row in rows if row.channel.name == "email")
    first = next(row for row in rows if row.channel.name == "slack")
    assert {one.status for one in first.receipts.all()} >= {429, 500, 200} or first.attempts > 1
    assert first.delay is not None
    assert first.delay.total_seconds() >= 5
    found = incident()
    assert found is not None
    escalation = Escalation.objects.get(key=f"incident:{found.pk}")
    happened = Counter(
        HistoryEntry.objects.filter(subject__in=[found.subject, escalation.subject]).values_list("verb", flat=True)
    )
    once = ("incident.opened", "incident.acknowledged", "incident.mitigated", "incident.resolved", "escalation.begun")
    assert {verb: happened[verb] for verb in once} == dict.fromkeys(once, 1)
    print(f"{len(rows)} messages; slowest {max(row.delay.total_seconds() for row in rows if row.delay):.0f} s")
