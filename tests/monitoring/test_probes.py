"""Scripts that judge telemetry: each has its pass, its fail, and its cannot-say."""

import argparse
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.checks.registry import check
from hawkops.scripts.models import Run
from hawkops.scripts.models import State as RunState
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.probes.measuring import Exit
from monitoring import thresholds
from monitoring.models import Alert, Evaluation, RollupPartial, Series, Silence, StoredCriterion
from monitoring.selectors.judging import ROLLBACK, last_change
from monitoring.services.criteria import criteria_seed
from tests.monitoring.rows import Known, row, seen, stored

pytestmark = pytest.mark.django_db
ME = Actor("person:1", "operator-1")
PHONE = "snapdragon-8-gen3"
CALM = {
    "litert.prefill.throughput": [300.0],
    "gen_ai.client.operation.duration": [1.2],
    "litert.memory.usage": [1.1e9],
    "litert.memory.peak": [1.3e9],
    "litert.backend.switch.duration": [0.2],
    "litert.fallback.duration": [0.8],
    "http.client.request.duration": [0.4],
    "app.user.satisfaction": [4.7],
    "app.session.duration": [300.0],
    "app.sessions": [200.0],
    "app.tasks.started": [20.0],
    "app.tasks.completed": [19.5],
    "app.engagement.events": [20.0],
    "app.support_tickets": [15.0],
    "litert.parity.checks": [20.0],
}
LOCAL = ("litert.prefill", "litert.memory", "litert.backend.switch.duration", "gen_ai", "litert.parity")


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> None:
    criteria_seed(actor=ME)


def run(name: str, *words: str) -> list[Finding]:
    """Run a check with the options of its script."""
    wanted = check(name)
    parser = argparse.ArgumentParser()
    wanted.options(parser)
    return list(wanted.run(parser.parse_args(words)))


def verdict(found: Iterable[Finding]) -> Exit:
    return findings.together(one.outcome for one in found)


def titled(found: Iterable[Finding]) -> dict[str, Finding]:
    return {one.title: one for one in found}


def of(found: Iterable[Finding], outcome: Exit | None) -> set[str]:
    return {one.title for one in found if one.outcome is outcome}


def fleet(
    environment: str = "production",
    *,
    but: dict[str, list[float] | None] | None = None,
    minutes: int = 45,
    **dimensions: Any,
) -> datetime:
    """Store what a calm fleet reports, every minute: treatment on the CPU, control in the cloud. `but` changes a metric."""
    now = clock.now()
    device_class = dimensions.pop("device_class", PHONE)
    values = {**CALM, **(but or {})}
    known: Known = {}
    rows: list[RollupPartial] = []
    for minute in range(minutes):
        at = now - timedelta(minutes=minute, seconds=20)
        for variant, actual in (("on", "cpu"), ("off", "cloud")):
            where = {"environment": environment, "device_class": device_class, "variant": variant, **dimensions}
            inferences = values.get("litert.inferences", [80.0])
            if inferences:
                told: dict[str, Any] = {"outcome": "ok", "requested": actual, "actual": actual}
                rows.append(row("litert.inferences", inferences, at, known=known, **told, **where))
            for metric, own in values.items():
                if own is None or metric == "litert.inferences" or (variant == "off" and metric.startswith(LOCAL)):
                    continue
                local = metric.startswith(LOCAL)
                backend = actual if local else ""
                # the control is what the treatment is held against, so only the treatment is told otherwise
                reported = own if variant == "on" else CALM.get(metric, own)
                often = reported * 20 if len(reported) == 1 and not counts(metric) else reported
                rows.append(row(metric, often, at, known=known, requested=backend, actual=backend, **where))
    RollupPartial.objects.bulk_create(rows)
    for variant in ("on", "off"):
        for number in range(3):
            seen(f"{variant}-{number}", now, environment=environment, device_class=device_class, variant=variant)
    return now


def counts(metric: str) -> bool:
    return metric.startswith(
        ("app.sessions", "app.tasks", "app.engagement", "app.support", "app.crashes", "litert.parity")
    )


def evaluated(environment: str = "production") -> None:
    """Let alerts have been looked at just now."""
    now = clock.now()
    Evaluation.objects.update_or_create(
        environment=environment, defaults={"began_at": now - timedelta(hours=1), "looked_at": now}
    )


def alert(key: str, severity: str, environment: str = "production", *, state: str = "firing", **more: Any) -> Alert:
    now = clock.now()
    return Alert.objects.create(
        environment=environment, source="criterion", key=key, kind="breach", title=f"Alert {key}", severity=severity,
        state=state, since_at=now, bad_at=now, fired_at=now, **more,
    )  # fmt: skip


# ---- everybody ----

EVERY = (
    "backend-performance",
    "backend-switching",
    "system-stability",
    "performance-recovery",
    "user-experience",
    "validate-performance",
    "validate-users",
    "validate-system",
)


@pytest.mark.parametrize("name", EVERY)
def test_check__nothing_reports__is_a_lack_and_no_pass(name: str) -> None:
    found = run(name)

    assert verdict(found) is Exit.UNMEASURED
    assert of(found, Exit.PASSED) <= {"Time since the last change"}


@pytest.mark.parametrize("name", EVERY)
def test_check__no_rule_is_stored__is_a_lack(name: str) -> None:
    from monitoring.models import StoredCriterion

    fleet()
    evaluated()
    StoredCriterion.objects.all().delete()

    assert verdict(run(name)) is Exit.UNMEASURED


@pytest.mark.parametrize("name", ["validate-performance", "backend-performance", "system-stability"])
def test_check__generated_model_in_production__is_the_wrong_subject(name: str) -> None:
    fleet(device_class="synthetic-host")
    evaluated()
    found = run(name)

    assert "synthetic-host" in titled(found)["Wrong subject"].sentence
    assert verdict(found) is Exit.UNMEASURED


def test_check__generated_model_in_demo__may_pass_and_is_marked() -> None:
    fleet("demo", device_class="synthetic-host", but={"litert.prefill.throughput": [30_000.0]})
    found = titled(run("validate-performance", "--environment=demo"))

    assert (found["CPU performance"].outcome, found["CPU performance"].synthetic) == (Exit.PASSED, True)
    assert "synthetic" in found["CPU performance"].sentence


def test_check__simulated_devices_outside_demo__are_no_subject() -> None:
    fleet("staging", simulated=True)
    found = run("validate-performance", "--environment=staging")

    assert verdict(found) is Exit.UNMEASURED
    assert any("wrong subject" in one.sentence for one in found)


# ---- a degradation ----


def test_backends__calm__pass_and_unused_ones_are_not_in_scope() -> None:
    fleet()
    found = run("backend-performance")

    assert verdict(found) is Exit.PASSED, found
    assert {"GPU throughput", "NPU throughput"} <= of(found, None)


def test_backends__slow_one__is_named_with_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    now = fleet()
    for minute in range(4):
        at = now - timedelta(minutes=minute)
        gpu: dict[str, Any] = {
            "environment": "production",
            "device_class": PHONE,
            "variant": "on",
            "requested": "gpu",
            "actual": "gpu",
        }
        stored("litert.prefill.throughput", [900.0] * 40, at, **gpu)
        stored("gen_ai.client.operation.duration", [6.0] * 40, at, **gpu)
        stored("litert.inferences", [40.0], at, outcome="ok", **gpu)
    found = run("backend-performance")

    assert of(found, Exit.FAILED) == {"GPU throughput", "Inference latency, GPU"}
    assert (
        "Affected: GPU (GPU throughput, Inference latency, GPU); litert_gpu_backend turns it off"
        in capsys.readouterr().out
    )


def test_backends__silent_run_elsewhere__fails_although_the_cpu_is_fast() -> None:
    """LiteRT's trap: an accelerator was asked for, the CPU ran, and its speed looks well."""
    now = fleet()
    where: dict[str, Any] = {
        "environment": "production",
        "device_class": PHONE,
        "variant": "on",
        "outcome": "ok",
        "requested": "npu",
    }
    stored("litert.inferences", [10.0], now, actual="npu", **where)
    for minute in range(10):
        stored("litert.inferences", [400.0], now - timedelta(minutes=minute), actual="cpu", **where)

    assert "Another backend than asked" in of(run("backend-performance"), Exit.FAILED)


def switches(many: float, *, hours_ago: float = 0.2) -> None:
    at = clock.now() - timedelta(hours=hours_ago)
    where: dict[str, Any] = {"environment": "production", "device_class": PHONE, "variant": "on"}
    stored("litert.backend.switches", [many], at, requested="gpu", actual="cpu", **where)
    stored("litert.backend.switch.duration", [0.2] * 40, at, requested="gpu", actual="cpu", **where)


def test_switching__calm_and_frequent() -> None:
    fleet()
    switches(9)
    assert verdict(run("backend-switching", "--last-1h")) is Exit.PASSED
    switches(90)
    found = run("backend-switching", "--last-1h")

    assert of(found, Exit.FAILED) == {"Backend switches"}
    assert titled(found)[f"Pattern: {PHONE}"].sentence == "99 switches, gpu asked for, cpu running afterwards"


def test_switching__last_hour_or_the_day__are_two_windows() -> None:
    fleet()
    switches(3 * 400, hours_ago=5)

    assert verdict(run("backend-switching", "--last-1h")) is Exit.PASSED
    assert of(run("backend-switching"), Exit.FAILED) == {"Backend switches"}


# ---- after a rollback ----


def test_stability__calm_for_the_time__passes() -> None:
    fleet()
    evaluated()
    found = run("system-stability", "--duration=30m")

    assert verdict(found) is Exit.PASSED, found


@pytest.mark.parametrize(
    ("but", "title"),
    [
        ({"app.crashes": [2.0]}, "Crashes of the app"),
        ({"gen_ai.client.operation.duration": [9.0]}, "Inference latency"),
        ({"litert.memory.usage": [1.9e9]}, "Memory of one device"),
        ({"litert.fallback.duration": [4.0]}, "Cloud fallback"),
    ],
)
def test_stability__a_rule_is_broken__fails(but: dict[str, list[float] | None], title: str) -> None:
    fleet(but=but)
    evaluated()

    assert title in of(run("system-stability", "--duration=30m"), Exit.FAILED)


def test_stability__critical_alert_fires__fails() -> None:
    fleet()
    evaluated()
    alert("alert-memory", "critical")
    found = run("system-stability", "--duration=30m")

    assert of(found, Exit.FAILED) == {"Critical alerts"}


def test_stability__critical_alert_acknowledged__still_stands() -> None:
    fleet()
    evaluated()
    alert("alert-memory", "critical", state="acknowledged")
    found = titled(run("system-stability", "--duration=30m"))["Critical alerts"]

    assert (found.outcome, found.sentence) == (Exit.FAILED, "1 stand: Alert alert-memory (acknowledged)")


@pytest.mark.parametrize("state", ["firing", "acknowledged"])
@pytest.mark.parametrize("how", ["silenced", "inhibited"])
def test_stability__critical_alert_hushed__is_listed_and_no_pass(how: str, state: str) -> None:
    fleet()
    evaluated()
    if how == "silenced":
        now = clock.now()
        Silence.objects.create(
            environment="production", owner="somebody", reason="known", starts_at=now, ends_at=now + timedelta(hours=1)
        )
        alert("alert-memory", "critical", state=state)
    else:
        alert("alert-memory", "critical", state=state, inhibited_by="litert_enabled is killed")
    found = titled(run("system-stability", "--duration=30m"))["Critical alerts"]

    assert found.outcome is Exit.UNMEASURED
    assert "1 stand and are hushed: Alert alert-memory" in found.sentence
    assert ("silenced until" if how == "silenced" else "litert_enabled is killed") in found.sentence


@pytest.mark.parametrize("state", ["pending", "resolved"])
def test_stability__critical_alert_not_yet_or_no_more__passes(state: str) -> None:
    fleet()
    evaluated()
    alert("alert-memory", "critical", state=state, resolved_at=clock.now() if state == "resolved" else None)

    assert titled(run("system-stability", "--duration=30m"))["Critical alerts"].outcome is Exit.PASSED


def test_stability__rule_that_is_not_stored__is_named_and_no_pass() -> None:
    fleet()
    evaluated()
    StoredCriterion.objects.filter(key__in=("alert-memory", "alert-latency")).delete()
    found = titled(run("system-stability", "--duration=30m"))["Rules"]

    assert (found.outcome, found.sentence) == (
        Exit.UNMEASURED,
        "not stored, so not judged: alert-latency, alert-memory",
    )


def test_stability__rehearsed_rollback_of_the_app__is_no_change() -> None:
    fleet()
    evaluated()
    rollback = {
        "environment": "production", "script": ROLLBACK, "arguments": {}, "subject": {}, "program_sha256": "",
        "requested_by": "x", "requested_at": clock.now(), "state": RunState.PASSED.value,
        "finished_at": clock.now() - timedelta(minutes=5),
    }  # fmt: skip
    Run.objects.create(dry_run=True, **rollback)
    assert verdict(run("system-stability", "--duration=30m")) is Exit.PASSED

    Run.objects.create(dry_run=False, **rollback)
    found = titled(run("system-stability", "--duration=30m"))["Time since the last change"]
    assert found.outcome is Exit.UNMEASURED


def test_stability__nobody_evaluates_alerts__is_a_lack() -> None:
    fleet()

    assert of(run("system-stability", "--duration=30m"), Exit.UNMEASURED) == {"Critical alerts"}


def test_stability__changed_within_the_time__is_not_stable_yet() -> None:
    fleet()
    evaluated()
    with change(actor=ME, environment="production") as this:
        this.record("flag.killed", subject="flag:litert_enabled")
    found = titled(run("system-stability", "--duration=30m"))

    assert found["Time since the last change"].outcome is Exit.UNMEASURED
    assert "ask again in" in found["Time since the last change"].sentence
    assert last_change("staging", until=clock.now()) is None


def test_stability__telemetry_was_silent__is_no_stability() -> None:
    now = fleet()
    evaluated()
    quiet = Series.objects.filter(metric="litert.inferences")

    RollupPartial.objects.filter(
        series__in=quiet, bucket_at__gte=now - timedelta(minutes=20), bucket_at__lt=now - timedelta(minutes=10)
    ).delete()
    found = titled(run("system-stability", "--duration=30m"))

    assert found["Telemetry all the time"].outcome is Exit.UNMEASURED
    assert "longest silence" in found["Telemetry all the time"].sentence


def test_stability__after_a_kill__is_read_on_devices_in_the_cloud() -> None:
    """Nobody is in treatment any more: what everybody feels is what counts."""
    fleet()
    evaluated()
    Series.objects.filter(variant="on").update(environment="staging")
    found = titled(run("system-stability", "--duration=30m"))

    assert found["Crashes of the app"].outcome is Exit.PASSED
    assert found["Failed inferences"].outcome is Exit.PASSED


def test_recovery__holds_again__passes() -> None:
    fleet()
    evaluated()
    switches(1)
    found = run("performance-recovery")

    assert verdict(found) is Exit.PASSED, found
    assert "GPU throughput" in of(found, None) or "GPU throughput" in of(found, Exit.PASSED)


def test_recovery__still_slow_or_still_told__fails() -> None:
    fleet(but={"litert.prefill.throughput": [100.0]})
    evaluated()
    alert("alert-latency", "warning", state="acknowledged")

    assert {"CPU throughput", "Open alerts"} <= of(run("performance-recovery"), Exit.FAILED)


def test_recovery__alert_on_performance_is_silenced__is_not_known() -> None:
    fleet()
    evaluated()
    switches(1)
    alert("alert-latency", "warning", inhibited_by="litert_enabled is killed")

    assert of(run("performance-recovery"), Exit.UNMEASURED) == {"Open alerts"}


def test_experience__satisfied_and_engaged__passes_and_only_what_was_asked_is_judged() -> None:
    fleet(minutes=60)
    found = run("user-experience", "--metrics=satisfaction,engagement")

    assert verdict(found) is Exit.PASSED, found
    assert set(titled(found)) == {"User satisfaction", "Satisfaction stable or improved", "Engagement"}


def test_experience__engagement_fell__fails() -> None:
    fleet(minutes=60, but={"app.engagement.events": [16.0]})

    assert of(run("user-experience", "--metrics=satisfaction,engagement"), Exit.FAILED) == {"Engagement"}


def test_experience__unknown_metric__is_refused() -> None:
    with pytest.raises(SystemExit):
        run("user-experience", "--metrics=happiness")


# ---- post-deployment validation ----


def test_performance__as_promised__passes_by_the_stored_rules_and_by_the_file() -> None:
    fleet()

    assert verdict(run("validate-performance")) is Exit.PASSED
    found = run("validate-performance", "--threshold-file=production-thresholds.yaml")
    assert verdict(found) is Exit.PASSED, found
    assert not [one for one in found if one.title.startswith("Drift")]


def test_performance__stricter_file__rules_and_its_difference_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet()
    monkeypatch.chdir(tmp_path)
    text = thresholds.FILE.read_text()
    own = text.replace(
        'aggregate: p95, window: 48h, comparator: "<", threshold: 3 s',
        'aggregate: p95, window: 48h, comparator: "<", threshold: 1 s',
    )
    Path("own.yaml").write_text(own.replace("cpu: 243", "cpu: 400"))
    found = run("validate-performance", "--threshold-file=own.yaml")

    assert of(found, Exit.FAILED) == {"Inference latency", "CPU performance"}
    assert "threshold" in titled(found)["Drift: Inference latency"].sentence


def test_performance__file_that_is_missing_or_broken__is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text("version: 1\ncriteria: 7\n")

    with pytest.raises(InvalidInput, match="neither here nor in monitoring"):
        run("validate-performance", "--threshold-file=absent.yaml")
    with pytest.raises(InvalidInput, match=r"broken\.yaml"):
        run("validate-performance", "--threshold-file=broken.yaml")


@pytest.mark.parametrize(
    ("name", "but", "title"),
    [
        ("validate-performance", {"litert.memory.peak": [2.1e9]}, "Memory, peak"),
        ("validate-performance", {"litert.backend.switch.duration": [0.6]}, "Backend switch time"),
        ("validate-users", {"app.tasks.completed": [15.0]}, "Task completion"),
        ("validate-users", {"app.crashes": [1.0]}, "Crash rate"),
        ("validate-system", {"http.client.request.duration": [2.5]}, "API response time"),
        ("validate-system", {"app.support_tickets": [20.0]}, "Support tickets"),
    ],
)
def test_validation__a_line_is_missed__fails(name: str, but: dict[str, list[float] | None], title: str) -> None:
    fleet(but=but, minutes=60)

    assert of(run(name), Exit.FAILED) == {title}


def test_users__over_the_time_asked_for__passes_and_looks_back_no_further() -> None:
    fleet(minutes=60)
    old = clock.now() - timedelta(hours=40)
    stored(
        "app.crashes", [50.0], old, environment="production", device_class=PHONE, variant="on", requested="", actual=""
    )

    assert verdict(run("validate-users", "--duration=1h")) is Exit.PASSED
    assert of(run("validate-users", "--duration=48h"), Exit.FAILED) == {"Crash rate"}


def test_system__resources_without_a_past__are_a_lack_although_the_rest_passes() -> None:
    fleet(minutes=60)
    found = titled(run("validate-system"))

    assert found["API response time"].outcome is Exit.PASSED
    assert found["CPU utilisation"].outcome is Exit.UNMEASURED


def test_system__comprehensive__looks_beyond_the_four_lines() -> None:
    fleet(minutes=60)
    evaluated()
    alert("alert-memory", "critical")

    assert of(run("validate-system"), Exit.FAILED) == set()
    found = run("validate-system", "--comprehensive")
    assert of(found, Exit.FAILED) == {"Critical alerts"}
    assert {"LiteRT availability", "Encryption failures"} <= set(titled(found))
