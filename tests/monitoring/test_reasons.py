"""Every alert says why, whatever it came from, and a criterion can be read as of a past minute."""

from datetime import timedelta
from typing import Any

import pytest

from hawkops.core import clock
from hawkops.history.actors import Actor
from monitoring.domain.alerting import Kind, Source, State
from monitoring.models import Alert
from monitoring.selectors import reasons
from monitoring.services.criteria import criteria_seed
from monitoring.services.patterns import patterns_seed

pytestmark = pytest.mark.django_db
ME = Actor.system("test")
KEYS = {
    Source.TELEMETRY: "telemetry-silent",
    Source.CRITERION: "alert-latency",
    Source.HEALTH: "health-fallback",
    Source.PATTERN: "pattern-thermal",
    Source.LOGS: "log-scan",
    Source.WATCH: "evaluation-stopped",
    Source.ALERTMANAGER: "am-1",
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    criteria_seed(actor=ME)
    patterns_seed(actor=ME)


def alert(source: Source, kind: Kind = Kind.BREACH) -> Alert:
    now = clock.now()
    return Alert.objects.create(
        environment="demo", source=source.value, key=KEYS[source], kind=kind.value, title="Something", severity="warning",
        state=State.FIRING.value, sentence="It is bad.", since_at=now - timedelta(minutes=3), bad_at=now,
        data_at=now - timedelta(minutes=3), metric="gen_ai.client.operation.duration",
    )  # fmt: skip


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("source", list(Source))
def test_of_alert__any_source__says_its_formula_and_what_ends_it(source: Source, kind: Kind) -> None:
    found = reasons.of_alert(alert(source, kind), now=clock.now())
    assert found.turns
    assert found.formula or source in (Source.PATTERN, Source.HEALTH)
    ends = "Alertmanager says" if source is Source.ALERTMANAGER else "resolves once it was well"
    assert ends in " ".join(found.turns)


def test_pages__an_alert_and_a_criterion__show_why_now_and_then(client_as: Any, viewer: Any) -> None:
    client = client_as(viewer)
    one = alert(Source.CRITERION)
    page = client.get(f"/demo/alerts/{one.pk}").content.decode()
    assert "What would change it" in page
    assert f"/demo/criteria/alert-latency?at={one.since_at:%Y-%m-%dT%H:%M:%S}" in page
    page = client.get("/demo/criteria").content.decode()
    assert 'id="why-alert-latency"' in page
    assert "style=" not in page
    then = (clock.now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    page = client.get(f"/demo/criteria/alert-latency?at={then}").content.decode()
    assert "A look back" in page
    assert "still to come" in client.get("/demo/criteria/alert-latency?at=2999-01-01T00:00").content.decode()
    answer = client.get("/api/v1/demo/criteria/alert-latency").json()
    assert answer["why"]["formula"].startswith("p95 of gen_ai.client.operation.duration")
