"""All boxes of the runbook: each automatic one is seen to pass and to fail, or this module does not.

A box that the runbook gains needs an entry in ARRANGED, whose function brings about what makes it pass or fail.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hawkops.accounts.services.credentials import probe_key_ensure
from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.history.services import heartbeat_record
from hawkops.scripts.models import Run, State
from incidents.domain.routing import Topic
from incidents.services import channels
from incidents.services.channels import Rules
from incidents.services.sending import send_due
from monitoring.domain.criteria import Severity
from monitoring.services.criteria import criteria_seed
from rollout.domain.experiments import Arm
from rollout.domain.runbook import Box, Limit
from rollout.evidence import assignment, loglines
from rollout.evidence.registry import CHECKS
from rollout.evidence.shape import Question
from rollout.models import PhaseRun, Release, Validation
from rollout.runbook.loading import load
from rollout.selectors import releases as selectors
from rollout.services import flags, overrides
from rollout.services.releases import evidence_record, runbook_import
from rollout.services.scans import scan_upload
from tests.incidents.sinks import http_sink
from tests.monitoring.rows import seen, stored
from tests.rollout.test_checks import (
    ALWAYS,
    BENCHMARK,
    EXPECTED,
    SIX,
    drill,
    ran,
    reported,
    result,
    said,
)
from tests.rollout.test_checks import cloud as cloud
from tests.rollout.test_checks_of_devices import crash
from tests.rollout.test_experiments import begun, exposed
from tests.rollout.test_scans import CLEAN, CRITICAL
from tests.rollout.walking import DIGEST, SYSTEM, begin, furnish

HOUR = timedelta(hours=1)
REAL: dict[str, Any] = {"environment": "staging", "device_class": "snapdragon-8-gen3", "variant": "on"}
CONTROL = {**REAL, "variant": "off"}
OURS = {"model": "gemma3-1b", "model_digest": DIGEST, "synthetic": False}


@dataclass
class Setting:
    """One box to be brought to pass or to fail; `now` and `box` are what it is asked about, if not the usual."""

    release: Release
    box: Box
    good: bool
    request: pytest.FixtureRequest
    now: datetime | None = None

    def given(self, name: str) -> Any:
        """Return a fixture by name."""
        return self.request.getfixturevalue(name)


Arrange = Callable[[Setting], None]


# ---- what makes them pass and fail ----


def measured(script: str, metric: str, good: float, bad: float) -> Arrange:
    """Its script measured a number."""

    def arrange(this: Setting) -> None:
        ran("staging", script, result(metric, good if this.good else bad))

    return arrange


def told(this: Setting) -> None:
    """Its script's newest run, with the box's own arguments, said so line by line."""
    lines = [{**said("pass", **OURS), "name": name} for name in EXPECTED.get(this.box.key, ())]
    run = ran(
        "staging",
        this.box.scripts[0],
        *lines,
        said("pass" if this.good else "fail", **OURS),
        state=State.PASSED if this.good else State.FAILED,
    )
    Run.objects.filter(pk=run.pk).update(arguments=this.box.given("staging"))


def benchmark(this: Setting) -> None:
    """The six results, one of them short."""
    short = result("litert.memory.peak", 1.9e9 if this.good else 2.1e9)
    ran("staging", BENCHMARK, *SIX[:3], short, *SIX[4:])


def backends(this: Setting) -> None:
    """Throughput on every declared backend; on one the script itself failed."""
    ran("staging", "scripts/test-cpu-performance.sh", SIX[0])
    outcome = {} if this.good else {"outcome": "fail"}
    ran("staging", "scripts/test-gpu-performance.sh", {**SIX[1], **outcome})


def targets(this: Setting) -> None:
    """Devices of the reference class, fast or slow."""
    prefill(this, "cpu", 900.0, 100.0)


def answered(this: Setting) -> None:
    """Cloud AI answers, or is down."""
    this.given("cloud").answer = (200, b'{"text": "hazard"}') if this.good else (503, b"{}")


def history(this: Setting) -> None:
    """The history verifies; it fell silent 90 seconds ago."""
    heartbeat_record()
    if not this.good:
        this.now = clock.now() + timedelta(seconds=90)


def scanned(this: Setting) -> None:
    """A scan of this build, with a critical finding."""
    scan_upload(release=this.release, content=CLEAN if this.good else CRITICAL, actor=SYSTEM)


def log_line(this: Setting) -> None:
    """A marked line through a real gateway; it arrives elsewhere."""
    this.given("settings").GATEWAY_URL = this.given("gateway").url
    if this.good:
        return
    elsewhere = lambda *, environment: probe_key_ensure(environment="production")  # noqa: E731
    this.given("monkeypatch").setattr(loglines, "probe_key_ensure", elsewhere)
    this.box = replace(this.box, limit=Limit(below=0.5))


def buckets(this: Setting) -> None:
    """The published vectors at a real gateway; one of them bent."""
    this.given("settings").GATEWAY_URL = this.given("gateway").url
    if not this.good:
        bent = {**assignment.vectors(), "vectors": [["hawkops.probe/1", 3]]}
        this.given("monkeypatch").setattr(assignment, "vectors", lambda: bent)


def shared_out(this: Setting) -> None:
    """An A/A test whose arms got their shares, or not."""
    begun("ai_fallback_to_cloud", "aa", "staging", Arm("a", 1, None), Arm("b", 1, None))
    exposed("a", 60, environment="staging", key="aa")
    exposed("b", 58 if this.good else 9, environment="staging", key="aa")


def crashed(this: Setting) -> None:
    """A crash of this build, or of another."""
    crash(this.release.app_version if this.good else "2.3.0")


def collected(this: Setting) -> None:
    """Every metric that applies is young, or one is missing."""
    for metric in ALWAYS if this.good else ALWAYS[1:]:
        reported("staging", metric)


def at_zero(this: Setting) -> None:
    """As installed, or one raised."""
    if not this.good:
        flags.flag_percentage_set(
            environment="staging",
            key="litert_gpu_backend",
            percent=5,
            actor=SYSTEM,
            reason="x",
            expected_revision=None,
        )


def drilled(this: Setting) -> None:
    """All switches pressed, the last one to the wrong side."""
    drill("staging")
    if not this.good:
        overrides.flag_override_set(
            environment="staging", key="litert_npu_backend", variant="on", actor=SYSTEM, reason=this.box.reason
        )


def at(hours: float = 1) -> datetime:
    """A moment within the validation."""
    return clock.now() - timedelta(hours=hours)


def prefill(this: Setting, backend: str, good: float, bad: float) -> None:
    """Prefill throughput on a backend that devices asked for."""
    on = {**REAL, "requested": backend, "actual": backend}
    stored("litert.inferences", [1.0] * 80, at(), outcome="ok", **on)
    stored("litert.prefill.throughput", [good if this.good else bad] * 80, at(), **on)
    seen("ref-1", at(), **REAL)


def on_backend(backend: str, good: float, bad: float) -> Arrange:
    """The same as an arrangement."""
    return lambda this: prefill(this, backend, good, bad)


def observed(metric: str, good: float, bad: float, count: int = 100) -> Arrange:
    """Devices that LiteRT is served to observed a number."""
    return lambda this: keep(metric, good if this.good else bad, count)


def keep(metric: str, value: float, count: int, **other: Any) -> None:
    """Store so many observations of one value."""
    stored(metric, [value] * count, at(), **{**REAL, **other})


def memory(this: Setting) -> None:
    """Average and peak, each with its own limit."""
    keep("litert.memory.usage", 1.2e9, 100)
    keep("litert.memory.peak", 1.7e9 if this.good else 2.1e9, 100)


def part_of(part: str, whole: str, many: int, good: int, bad: int) -> Arrange:
    """So many of a whole."""

    def arrange(this: Setting) -> None:
        keep(whole, 1.0, many)
        keep(part, 1.0, good if this.good else bad)

    return arrange


def errors(this: Setting) -> None:
    """Inferences, some of them failed."""
    keep("litert.inferences", 1.0, 1_000, outcome="ok")
    keep("litert.inferences", 1.0, 2 if this.good else 40, outcome="timeout")


def sessions(this: Setting) -> None:
    """Sessions as long as the control's, or shorter."""
    keep("app.session.duration", 600.0, 900, **CONTROL)
    keep("app.session.duration", 610.0 if this.good else 400.0, 900)


def tickets(this: Setting) -> None:
    """Tickets per device as many as the control's, or half as many again."""
    keep("app.support_tickets", 1.0, 900, **CONTROL)
    keep("app.support_tickets", 1.0, 900 if this.good else 1_350)
    seen("control-1", at(), **CONTROL)
    seen("treated-1", at(), **REAL)


RESOURCES = ("process.cpu.utilization", "device.battery.drain", "device.thermal.status", "device.storage.free")


def resources(this: Setting) -> None:
    """As in the two weeks before the release, or the processor far above."""
    started = PhaseRun.objects.get().started_at
    for metric in RESOURCES:
        for hour in range(2, 130):
            moment = started - timedelta(hours=hour)
            stored(metric, [0.3 + hour % 10 / 50], moment, width=3_600, **REAL)
        high = metric == RESOURCES[0] and not this.good
        keep(metric, 0.95 if high else 0.4, 100)


def concluded(this: Setting) -> None:
    """Its script ran once the hours of data were over."""
    Validation.objects.update(concluding_at=clock.now() - timedelta(minutes=5), done_at=clock.now())
    told(this)


def told_of(this: Setting) -> None:
    """A test message to a channel, which takes it or not."""
    this.given("monkeypatch").setenv("OUTBOUND_PRIVATE", "1")
    rules = Rules(list(Topic), list(Severity))
    with http_sink() as sink:
        sink.answer((200, "ok") if this.good else (404, "no_service"))
        made, _ = channels.channel_create(
            environment="staging", name="#incidents", kind="slack", address=sink.url, rules=rules, actor=SYSTEM
        )
        channels.channel_test(channel=made, actor=SYSTEM)
        send_due()


ARRANGED: dict[str, Arrange] = {
    "backends_tested": backends,
    "targets_validated": targets,
    "memory_limit": measured("scripts/test-memory-usage.sh", "litert.memory.peak", 1.9e9, 2.0e9),
    "backend_switching": measured("scripts/test-backend-switching.sh", "litert.backend.switch.duration", 0.2, 0.5),
    "cloud_fallback": answered,
    "models_signed": told,
    "encryption": told,
    "audit_logging": history,
    "security_scan": scanned,
    "compliance": told,
    "monitoring_operational": told,
    "alert_endpoints": told_of,
    "log_aggregation": log_line,
    "crash_reporting": crashed,
    "ab_framework": shared_out,
    "metrics_collection": collected,
    "flags_at_zero": at_zero,
    "kill_switches": drilled,
    "hash_assignment": buckets,
    "performance_tests": benchmark,
    "security_validation": told,
    "integration_tests": told,
    "compliance_models": told,
    "compliance_encryption": told,
    "compliance_audit": told,
    "compliance_standards": told,
    "validated_cpu": on_backend("cpu", 300.0, 200.0),
    "validated_gpu": on_backend("gpu", 2_000.0, 1_500.0),
    "validated_memory": memory,
    "validated_latency": observed("gen_ai.client.operation.duration", 0.8, 4.0),
    "validated_switching": observed("litert.backend.switch.duration", 0.1, 0.9),
    "validated_tasks": part_of("app.tasks.completed", "app.tasks.started", 200, 198, 150),
    "validated_sessions": sessions,
    "validated_crashes": part_of("app.crashes", "app.sessions", 4_000, 1, 60),
    "validated_satisfaction": observed("app.user.satisfaction", 4.8, 3.9),
    "validated_api": observed("http.client.request.duration", 0.4, 3.0),
    "validated_errors": errors,
    "validated_tickets": tickets,
    "validated_resources": resources,
    "performance_suite": concluded,
    "validation_report": concluded,
}
# asked through a real gateway, on a database that commits
LIVE = ("log_aggregation", "hash_assignment")
# until their part is there a person answers, and the box names the part
BY_HAND: dict[str, str] = {}


def boxes() -> list[Box]:
    """The runbook's boxes: checklist with gates, compliance, validation."""
    found = load().runbook
    return [box for group in (*found.checklist, *found.compliance, *found.validation) for box in group.boxes]


def test_boxes__are_39__of_which_33_at_least_tick_themselves() -> None:
    found = load().runbook
    gates = [box for group in found.checklist if group.gates for box in group.boxes]
    plain = [box for group in found.checklist if not group.gates for box in group.boxes]
    compliance = [box for group in found.compliance for box in group.boxes]
    validation = [box for group in found.validation for box in group.boxes]
    assert [len(plain), len(gates), len(compliance), len(validation)] == [19, 3, 4, 13]
    assert len(boxes()) == 39
    assert sum(box.automatic for box in boxes()) >= 33
    for box in boxes():
        assert (box.by in CHECKS) or box.comes_with, f"{box.key} names neither its check nor what brings one"
    assert {box.key: box.comes_with for box in boxes() if not box.automatic} == BY_HAND


def test_boxes__every_automatic_one__is_arranged_here_and_nothing_else() -> None:
    automatic = {box.key for _group, box in load().runbook.boxes() if box.automatic}
    assert automatic == set(ARRANGED)


def settings_of() -> list[Any]:
    """Every automatic box, to pass and to fail; what needs a gateway also gets a database that commits."""
    found = []
    for _group, box in load().runbook.boxes():
        mark = pytest.mark.fresh_database if box.key in LIVE else pytest.mark.django_db
        for good in (True, False):
            if box.automatic:
                name = f"{box.key}-{'passes' if good else 'fails'}"
                found.append(pytest.param(box.key, good, marks=mark, id=name))
    return found


def validating(release: Release) -> None:
    """Let phase 1 have been at its target for six hours."""
    since = clock.now() - 6 * HOUR
    run = PhaseRun.objects.create(
        release=release, number=1, percents=[1], step=1, started_at=since, started_by="x", reached_at=since
    )
    Validation.objects.create(run=run, began_at=since, since=since, counted_at=clock.now())


@pytest.mark.parametrize(("key", "good"), settings_of())
def test_box__what_makes_it_pass_and_fail__does(key: str, good: bool, request: pytest.FixtureRequest) -> None:
    if key in LIVE:
        request.getfixturevalue("gateway")
        criteria_seed(actor=SYSTEM)
        runbook_import(actor=SYSTEM)
    else:
        furnish()
    release = begin("staging")
    validating(release)
    named = selectors.runbook(release).box(key)
    assert named is not None
    this = Setting(release, named[1], good, request)
    before = CHECKS[this.box.by].ask(Question(release, this.box, "staging", clock.now()))
    if key not in (*LIVE, "flags_at_zero", "audit_logging"):
        assert before.verdict is Verdict.NO_DATA, "without anything nothing is known"
    ARRANGED[key](this)
    finding = CHECKS[this.box.by].ask(Question(release, this.box, "staging", this.now or clock.now()))
    evidence_record(release=release, box=this.box, finding=finding)
    groups = [*selectors.checklist(release), *selectors.after_phases(release)]
    row = next(row for group in groups for row in group.rows if row.box.key == key)
    assert row.standing.verdict is (Verdict.PASS if good else Verdict.FAIL), row.standing.sentence
    assert row.blocks is not good
    assert row.standing.sentence
