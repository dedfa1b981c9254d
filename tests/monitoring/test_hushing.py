"""What a kill, a silence and missing telemetry explain, what stays loud, and who is told when the explanation ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from incidents.quieting import switched_off
from monitoring.domain.alerting import Kind, Look, Sign, Source
from monitoring.domain.criteria import Purpose, Severity
from monitoring.events import AlertMoved, alert_moved
from monitoring.models import Alert, StoredCriterion
from monitoring.selectors import alerts as selectors
from monitoring.selectors.criteria import criteria
from monitoring.selectors.looks import looks
from monitoring.services import alerts as services
from monitoring.services.criteria import criteria_seed
from monitoring.services.silences import silence_create, silence_end
from rollout.services import flags, overrides
from tests.monitoring.rows import stored
from tests.monitoring.test_health import result

ME = Actor("person:1", "operator-1")
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATENCY = "gen_ai.client.operation.duration"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def seeded() -> None:
    criteria_seed(actor=ME)
    flags.flags_seed(actor=ME)


@pytest.fixture
def told() -> Iterator[list[AlertMoved]]:
    """What was announced, in order."""
    found: list[AlertMoved] = []
    alert_moved.subscribe(found.append)
    yield found
    alert_moved._subscribers.remove(found.append)


@contextmanager
def at(seconds: float) -> Iterator[datetime]:
    moment = START + timedelta(seconds=seconds)
    with time_machine.travel(moment, tick=False):
        yield moment


def look(seconds: float, latency: float | None = None, environment: str = "demo") -> int:
    with at(seconds) as moment:
        if latency is not None:
            stored(LATENCY, [latency] * 40, at=moment - timedelta(seconds=10), actual="cpu", environment=environment)
        return services.alerts_evaluate(environments=[environment])


def covered() -> set[str]:
    """The criteria whose alerts what is in force explains."""
    quiets = list(switched_off("demo"))
    return {
        one.key
        for one in criteria(purposes=(Purpose.ALERT, Purpose.SECURITY))
        if any(
            quiet.covers(
                Look(
                    source=Source.CRITERION,
                    key=one.key,
                    kind=Kind.BREACH,
                    title="",
                    severity=Severity.INFO,
                    group="",
                    sign=Sign.BAD,
                    sentence="",
                    metric=one.over.metric,
                    backends=one.over.backends,
                    purpose=one.purpose,
                )
            )
            for quiet in quiets
        )
    }


def test_kill_of_litert__explains_performance_and_leaves_what_users_get_loud() -> None:
    overrides.kill(environment="demo", actor=ME, reason="")

    assert covered() == {
        "alert-latency",
        "alert-memory",
        "alert-cpu-throughput",
        "alert-gpu-throughput",
        "alert-npu-throughput",
        "alert-switches",
    }
    # loud: error and crash rate, wrong results, cloud fallback, and all of security


@pytest.mark.parametrize(
    ("backend", "explained"),
    [("gpu", {"alert-gpu-throughput"}), ("npu", {"alert-npu-throughput"}), ("adaptive", {"alert-switches"})],
)
def test_kill_of_a_backend__explains_what_has_no_other(backend: str, explained: set[str]) -> None:
    overrides.backend_disable(environment="demo", backend=backend, actor=ME, reason="")

    assert covered() == explained


def test_rollout_that_stands_at_nobody__explains_that_nobody_reports_from_the_treatment_and_nothing_else() -> None:
    def missing(*, of_treatment: bool, kind: Kind = Kind.NO_DATA) -> bool:
        one = Look(
            source=Source.CRITERION,
            key="k",
            kind=kind,
            title="",
            severity=Severity.INFO,
            group="",
            sign=Sign.BAD,
            sentence="",
            of_treatment=of_treatment,
        )
        return any(quiet.covers(one) for quiet in switched_off("demo"))

    flags.flag_percentage_set(environment="demo", key="litert_enabled", percent=0, actor=ME, reason="Not yet")
    assert missing(of_treatment=True)
    assert not missing(of_treatment=False)
    assert not missing(of_treatment=True, kind=Kind.BREACH)
    overrides.kill(environment="demo", actor=ME, reason="")
    assert missing(of_treatment=True)
    assert not missing(of_treatment=False)
    assert {quiet.reason for quiet in switched_off("demo")} == {"litert_enabled is killed"}


def test_kill__latency_that_counts_the_cloud_too__stays_loud() -> None:
    row = StoredCriterion.objects.get(key="alert-latency")
    row.document = {**row.document, "backends": ["cpu", "cloud"]}
    row.save()
    overrides.kill(environment="demo", actor=ME, reason="")

    assert "alert-latency" not in covered()


def test_kill__no_inference_on_any_device__pages_nobody_but_a_stopped_check_does() -> None:
    overrides.kill(environment="production", actor=ME, reason="")
    stored("litert.inferences", [1.0], START, outcome="ok", actual="cloud", environment="production")
    for seconds in (0, 30, 60):
        result("litert-availability", "production", Verdict.FAIL, START + timedelta(seconds=seconds))
        look(seconds + 1, 0.5, environment="production")

    failing = Alert.objects.get(key="health-litert-availability", kind="breach")
    assert (failing.state, failing.inhibited_by, failing.loud) == ("firing", "litert_enabled is killed", False)
    for seconds in range(140, 220, 20):
        look(seconds, 0.5, environment="production")
    stopped = Alert.objects.get(key="health-litert-availability", kind="no data")
    assert (stopped.state, stopped.loud) == ("firing", True)


def test_no_telemetry__explains_what_devices_report_and_nothing_that_is_measured_here() -> None:
    with at(0) as now:
        stored(LATENCY, [0.5], now - timedelta(minutes=10), environment="production")
        found = {(one.key, one.kind): one for one in looks("production", now=now)}

    assert found["alert-latency", Kind.NO_DATA].from_telemetry
    assert found["security-model-validations", Kind.BREACH].from_telemetry
    assert found["health-litert-availability", Kind.BREACH].from_telemetry
    for key in ("security-audit-gaps", "health-model-validation", "health-fallback", "telemetry-silent"):
        assert not any(one.from_telemetry for (other, _), one in found.items() if other == key), key
    assert not found["health-litert-availability", Kind.NO_DATA].from_telemetry


def test_no_telemetry__leaves_a_security_breach_loud() -> None:
    for seconds in (0, 10):
        with at(seconds) as now:
            stored("security.encryption.failures", [1.0], now)
            services.alerts_evaluate(environments=["demo"])
    look(200)

    assert Alert.objects.get(key="telemetry-silent").state == "firing"
    breach = Alert.objects.get(key="security-encryption")
    assert (breach.state, breach.loud) == ("firing", True)


def test_kill_lifted__alert_that_fired_while_explained__becomes_loud_with_a_fact(
    told: list[AlertMoved], django_capture_on_commit_callbacks: object
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        overrides.kill(environment="demo", actor=ME, reason="Production incident")
        look(0, 9.0)
        look(40, 9.0)
    alert = Alert.objects.get(key="alert-latency")
    assert [(one.verb, one.loud) for one in told if one.alert_id == alert.pk] == [("alert.fired", False)]

    told.clear()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        overrides.reenable(environment="demo", keys=["litert_enabled"], actor=ME, reason="Fixed")
        look(50, 9.0)
        look(60, 9.0)

    entries = list(HistoryEntry.objects.filter(subject=f"alert:{alert.pk}").order_by("seq"))
    assert [one.verb for one in entries] == ["alert.pending", "alert.fired", "alert.uncovered"]
    assert [one.cause_id for one in entries] == [None, entries[0].seq, entries[1].seq]
    (fact,) = [one for one in told if one.alert_id == alert.pk]
    assert (fact.verb, fact.loud, fact.severity, fact.group) == ("alert.uncovered", True, "warning", "litert")
    alert.refresh_from_db()
    assert fact.entry == alert.entry == entries[2].seq


def test_kill__explains_an_alert_that_fires__with_the_kill_as_its_cause() -> None:
    look(0, 9.0)
    look(40, 9.0)
    with at(45):
        killed = overrides.kill(environment="demo", actor=ME, reason="Production incident")
    look(50, 9.0)

    assert killed is not None
    entry = HistoryEntry.objects.get(verb="alert.explained")
    assert (entry.cause_id, entry.reason) == (killed.seq, "litert_enabled is killed")


def test_silence_that_ends_by_time__is_told() -> None:
    look(0, 9.0)
    look(40, 9.0)
    with at(45):
        silence_create(
            environment="demo", pattern="alert-lat*", span=timedelta(minutes=1), actor=ME, reason="Known"
        )  # fmt: skip
    look(50, 9.0)
    look(60, 9.0)
    alert = Alert.objects.get(key="alert-latency")
    assert (alert.loud, alert.told) == (False, True)
    look(110, 9.0)

    verbs = HistoryEntry.objects.filter(subject=f"alert:{alert.pk}").order_by("seq").values_list("verb", flat=True)
    assert list(verbs)[2:] == ["alert.silenced", "alert.uncovered"]
    alert.refresh_from_db()
    assert alert.loud


def test_silence__on_a_criterion__hides_its_missing_data_only_when_named() -> None:
    look(0, 0.5)
    with at(10):
        plain = silence_create(
            environment="demo", pattern="alert-latency", span=timedelta(hours=1), actor=ME, reason="Known"
        )
    look(320)
    missing = Alert.objects.get(key="alert-latency", kind="no data")
    with at(320):
        assert selectors.hidden_by(plain, selectors.open_alerts("demo")) == []
        silence_end(silence=plain, actor=ME)
        named = silence_create(
            environment="demo", pattern="alert-lat*:no-data", span=timedelta(hours=1), actor=ME, reason="Known"
        )
        assert selectors.hidden_by(named, selectors.open_alerts("demo")) == [missing]
