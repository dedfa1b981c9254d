"""Each automatic check: what makes it pass, what makes it fail, and what it says when it can't know."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
import time_machine
from django.db.models import Max

from hawkops.accounts.models import DeviceKey
from hawkops.accounts.services.credentials import probe_key_ensure
from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import heartbeat_record
from hawkops.scripts.models import Run, State
from hawkops.scripts.models import Series as ScriptSeries
from monitoring.domain.sketch import Sketch
from monitoring.models import LogLine, RollupPartial, Series
from rollout import tasks
from rollout.domain.gates import Finding
from rollout.domain.runbook import Limit
from rollout.evidence import assignment, loglines, refreshing
from rollout.evidence.registry import CHECKS
from rollout.evidence.shape import Check, Question
from rollout.models import CensusDevice, Evidence, Flag, Release
from rollout.runbook.loading import load
from rollout.selectors import releases as selectors
from rollout.services import flags, overrides
from rollout.services import releases as services
from tests.rollout.conftest import Gateway

SYSTEM = Actor.system("test")
# boxes of the bundled runbook that tick themselves
AUTOMATIC = 41
DIGEST = "sha256:" + "ab" * 32
DRILL = "Pre-deployment test"


@pytest.fixture
def begin() -> Callable[..., Release]:
    """Begin a release: `begin("staging", backends=["cpu", "npu"])`."""

    def make(environment: str = "production", **given: Any) -> Release:
        flags.flags_seed(actor=SYSTEM)
        services.runbook_import(actor=SYSTEM)
        known = {
            "name": "HazardHawk",
            "app_version": "2.4.0",
            "version_code": "2407",
            "model_name": "gemma3-1b",
            "model_digest": DIGEST,
            "backends": ["cpu"],
        }
        return services.release_create(environment=environment, actor=SYSTEM, **{**known, **given})

    return make


def ask(release: Release, key: str, *, at_once: bool = False, now: datetime | None = None) -> Finding:
    """Ask one check as the sweeper does."""
    found = selectors.runbook(release).box(key)
    assert found is not None
    group, box = found
    question = Question(release, box, selectors.measured_in(release, group), now or clock.now(), at_once)
    return CHECKS[box.by].ask(question)


# ---- flags ----


@pytest.mark.django_db
def test_flags_at_zero__installed__passes_and_is_bound_to_the_revision(begin: Callable[..., Release]) -> None:
    found = ask(begin(), "flags_at_zero")
    assert (found.verdict, found.subject) == (Verdict.PASS, {"flag_revision": 1})


@pytest.mark.django_db
def test_flags_at_zero__one_raised_or_forced_on__fails_by_name(begin: Callable[..., Release]) -> None:
    release = begin("staging")
    flags.flag_percentage_set(
        environment="staging", key="litert_gpu_backend", percent=5, actor=SYSTEM, reason="x", expected_revision=None
    )
    overrides.flag_override_set(environment="staging", key="litert_enabled", variant="on", actor=SYSTEM, reason="x")
    found = ask(release, "flags_at_zero")
    assert found.verdict is Verdict.FAIL
    assert found.sentence == "2 of 4 flags are at 0 %; litert_gpu_backend is at 5 %, litert_enabled is forced on."


@pytest.mark.django_db
def test_flags_at_zero__changed_after_the_check__is_stale_at_once(begin: Callable[..., Release]) -> None:
    release = begin()
    refreshing.release_refresh(release=release)
    overrides.kill(environment="production", actor=SYSTEM, reason="x")
    standing = next(
        row.standing for g in selectors.checklist(release) for row in g.rows if row.box.key == "flags_at_zero"
    )
    assert standing.verdict is Verdict.STALE


def drill(environment: str, *, reason: str = DRILL, without: str = "") -> None:
    """Press all five switches as the emergency page does, let a device obey, and lift them again."""
    CensusDevice.objects.get_or_create(
        environment=environment,
        device_id="obedient",
        defaults={"told_revision": 1, "first_seen_at": clock.now(), "last_seen_at": clock.now()},
    )
    overrides.kill(environment=environment, actor=SYSTEM, reason=reason)
    for backend in flags.BACKENDS:
        if backend != without:
            overrides.backend_disable(environment=environment, backend=backend, actor=SYSTEM, reason=reason)
    CensusDevice.objects.filter(environment=environment, device_id="obedient").update(
        obeyed_revision=Flag.objects.filter(environment=environment).aggregate(newest=Max("revision"))["newest"],
        last_seen_at=clock.now(),
    )
    overrides.reenable(environment=environment, keys=flags.SWITCHES, actor=SYSTEM, reason="drill over")


@pytest.mark.django_db
def test_kill_switches__all_five_drilled__pass_until_the_oldest_is_14_days_old(begin: Callable[..., Release]) -> None:
    release = begin()
    drill("production", reason=f"{DRILL}: quarterly")
    found = ask(release, "kill_switches")
    assert found.verdict is Verdict.PASS
    assert found.expires_at is not None
    assert found.measured_at is not None
    assert found.expires_at - found.measured_at == timedelta(days=14)
    later = ask(release, "kill_switches", now=clock.now() + timedelta(days=15))
    assert later.verdict is Verdict.NO_DATA


@pytest.mark.django_db
def test_kill_switches__some_missing_or_pressed_for_another_reason__say_which(begin: Callable[..., Release]) -> None:
    release = begin()
    drill("production", reason="Production incident")
    drill("staging")
    assert ask(release, "kill_switches").verdict is Verdict.NO_DATA
    drill("production", without="npu")
    found = ask(release, "kill_switches")
    assert found.verdict is Verdict.INSUFFICIENT
    assert "4 of 5 switches drilled within 14 days; missing: litert_npu_backend." in found.sentence


@pytest.mark.django_db
def test_kill_switches__forced_to_the_unsafe_side__fails_until_it_is_drilled_rightly(
    begin: Callable[..., Release],
) -> None:
    release = begin("staging")
    for key in flags.SWITCHES:
        unsafe = "off" if key == flags.FALLBACK else "on"
        overrides.flag_override_set(environment="staging", key=key, variant=unsafe, actor=SYSTEM, reason=DRILL)
    found = ask(release, "kill_switches")
    assert (found.verdict, "litert_enabled was forced on, off is safe" in found.sentence) == (Verdict.FAIL, True)
    drill("staging")
    assert ask(release, "kill_switches").verdict is Verdict.PASS


# ---- history ----


@pytest.mark.django_db
def test_audit_logging__good_chain__passes_with_a_test_entry_a_checkpoint_and_its_limit(
    begin: Callable[..., Release],
) -> None:
    release = begin()
    found = ask(release, "audit_logging")
    test = HistoryEntry.objects.get(verb="history.tested")
    assert found.verdict is Verdict.PASS
    assert f"test entry {test.seq} among them" in found.sentence
    assert "1 signed checkpoints hold" in found.sentence and "No witness outside the database" in found.sentence
    again = ask(release, "audit_logging")
    assert (again.verdict, HistoryEntry.objects.filter(verb="history.tested").count()) == (Verdict.PASS, 1)
    ask(release, "audit_logging", at_once=True)
    assert HistoryEntry.objects.filter(verb="history.tested").count() == 2


@pytest.mark.django_db
def test_audit_logging__silence_above_a_minute__fails(begin: Callable[..., Release]) -> None:
    release = begin()
    heartbeat_record()
    ask(release, "audit_logging")
    found = ask(release, "audit_logging", now=clock.now() + timedelta(seconds=90))
    assert found.verdict is Verdict.FAIL
    assert "the limit is 60 s" in found.sentence
    with time_machine.travel(clock.now() + timedelta(seconds=90), tick=False):
        assert (
            ask(release, "audit_logging", at_once=True).verdict is Verdict.FAIL
        )  # its own test entry is no sign of life


# ---- runs ----


def result(name: str, value: float | None, backend: str = "cpu", **more: Any) -> dict[str, Any]:
    """One measurement of a real device with the release's model."""
    device = {
        "model": "gemma3-1b",
        "model_digest": DIGEST,
        "target": "device",
        "host": "Pixel 9 Pro",
        "synthetic": False,
    }
    outcome = "no_data" if value is None else "pass"
    return {"name": name, "value": value, "backend": backend, "outcome": outcome, **device, **more}


SIX = (
    result("litert.prefill.throughput", 271.0),
    result("litert.prefill.throughput", 1944.0, "gpu"),
    result("litert.prefill.throughput", 6000.0, "npu"),
    result("litert.memory.peak", 1.9e9),
    result("litert.backend.switch.duration", 0.2),
    result("litert.fallback.duration", 0.9, "cloud"),
)
BENCHMARK = "run_litert_performance_tests.sh"


def ran(environment: str, script: str, *results: dict[str, Any], state: State = State.PASSED) -> Run:
    """Store a run that has ended."""
    return Run.objects.create(
        environment=environment,
        script=script,
        state=state.value,
        requested_by="test",
        requested_at=clock.now(),
        finished_at=clock.now(),
        results=list(results),
        summary="said something",
    )


@pytest.mark.django_db
def test_performance_tests__six_good_results__pass_bound_to_the_model(begin: Callable[..., Release]) -> None:
    release = begin(backends=["cpu", "gpu", "npu"])
    assert ask(release, "performance_tests").verdict is Verdict.NO_DATA
    run = ran("production", BENCHMARK, *SIX)
    found = ask(release, "performance_tests")
    assert (found.verdict, found.sentence) == (Verdict.PASS, f"Run {run.pk}: 6 of 6 results pass.")
    assert (found.subject["model_digest"], found.measured_at, found.source) == (
        DIGEST,
        run.finished_at,
        f"run:{run.pk}",
    )


@pytest.mark.django_db
def test_performance_tests__undeclared_backends__are_out_of_scope_and_say_so(begin: Callable[..., Release]) -> None:
    release = begin(backends=["cpu"])
    ran("production", BENCHMARK, SIX[0], *SIX[3:])
    found = ask(release, "performance_tests")
    assert found.verdict is Verdict.PASS
    assert "4 of 4 results pass, 2 not declared by this release" in found.sentence
    assert [line.verdict for line in found.lines].count(None) == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changed,verdict",
    [
        (result("litert.prefill.throughput", 242.9), Verdict.FAIL),
        (result("litert.prefill.throughput", 271.0, outcome="fail"), Verdict.FAIL),
        (result("litert.prefill.throughput", None, outcome="fail"), Verdict.FAIL),
        (result("litert.prefill.throughput", None), Verdict.NO_DATA),
        (result("something.else", 1.0), Verdict.NO_DATA),
    ],
)
def test_performance_tests__one_line_short__decides(
    begin: Callable[..., Release], changed: dict[str, Any], verdict: Verdict
) -> None:
    release = begin()
    ran("production", BENCHMARK, changed, *SIX[3:])
    assert ask(release, "performance_tests").verdict is verdict


@pytest.mark.django_db
def test_performance_tests__declared_gpu_not_measured__is_no_data(begin: Callable[..., Release]) -> None:
    release = begin(backends=["cpu", "gpu"])
    ran("production", BENCHMARK, SIX[0], *SIX[3:])
    assert ask(release, "performance_tests").verdict is Verdict.NO_DATA


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "outcome", "verdict"),
    [
        (State.PASSED, "pass", Verdict.PASS),
        (State.FAILED, "fail", Verdict.FAIL),
        (State.NO_DATA, "no_data", Verdict.NO_DATA),
        (State.PASSED, "", Verdict.NO_DATA),
    ],
)
def test_monitoring_operational__is_what_its_script_says__line_by_line(
    begin: Callable[..., Release], state: State, outcome: str, verdict: Verdict
) -> None:
    release = begin()
    assert ask(release, "monitoring_operational").verdict is Verdict.NO_DATA
    line = {"name": "Beat", "value": None, "outcome": outcome, "note": "last heartbeat 3 s ago"}
    ran("production", "scripts/verify-monitoring-stack.sh", *([line] if outcome else []), state=state)
    found = ask(release, "monitoring_operational")
    assert found.verdict is verdict
    assert [one.sentence for one in found.lines] == (["last heartbeat 3 s ago"] if outcome else [])


MODEL_BOXES = {
    "models_signed": "scripts/validate-model-integrity.sh",
    "security_validation": "verify_android_security.sh",
    "integration_tests": "run_comprehensive_ai_tests.sh",
}
INSTALLATION_BOXES = {
    "encryption": ("scripts/verify-encryption.sh", {"check-all-components": "on"}, {"check-all-components": "yes"}),
    "compliance": ("scripts/run-compliance-checks.sh", {"standard": "SOC2,GDPR"}, {"standard": "GDPR SOC2"}),
}


def said(outcome: str, **more: Any) -> dict[str, Any]:
    """One line of a script that measures nothing, as it stands in the result file."""
    return {"name": "Model signature", "value": None, "outcome": outcome, "note": "signed by us", **more}


# the lines that a gate's script must have said, besides what a case is about
EXPECTED = {
    "models_signed": (),
    "security_validation": ("Model signature", "TLS: Gateway", "Chain"),
    "integration_tests": ("Workflow: local inference", "Errors: empty file", "Degradation: local inference again"),
}


def stored(release: Release, key: str) -> Verdict:
    """Let the sweep ask, and say where the box stands then."""
    refreshing.release_refresh(release=release, at_once=True)
    rows = (row for group in selectors.checklist(release) for row in group.rows)
    return next(row.standing.verdict for row in rows if row.box.key == key)


@pytest.mark.django_db
@pytest.mark.parametrize("key", MODEL_BOXES)
def test_model_boxes__are_what_their_script_says_of_the_releases_own_model(
    begin: Callable[..., Release], key: str
) -> None:
    release, script = begin(), MODEL_BOXES[key]
    real = {"model": "gemma3-1b", "model_digest": DIGEST, "synthetic": False}
    expected = [{**said("pass"), "name": name} for name in EXPECTED[key]]
    assert stored(release, key) is Verdict.NO_DATA
    ran("production", script, said("pass", **real), said("pass"), *expected)
    assert stored(release, key) is Verdict.PASS
    kept = Evidence.objects.get(release=release, box=key)
    assert kept.subject["model_digest"] == DIGEST
    assert {"title": "Model signature", "verdict": "PASS", "sentence": "signed by us"} in kept.lines
    for left_out in expected:
        others = [one for one in expected if one is not left_out]
        ran("production", script, {**said("pass", **real), "name": "Anything"}, *others)
        assert stored(release, key) is Verdict.NO_DATA, f"nothing was said of {left_out['name']}"
        failed = {**left_out, "outcome": "fail"}
        ran("production", script, said("pass", **real), *others, failed, state=State.FAILED)
        assert stored(release, key) is Verdict.FAIL
    for results, state, verdict in (
        ([said("pass", **real), said("fail")], State.FAILED, Verdict.FAIL),
        ([said("pass", **real), said("fail")], State.PASSED, Verdict.FAIL),
        ([said("pass", **real), said("no_data")], State.NO_DATA, Verdict.NO_DATA),
        ([said("pass")], State.PASSED, Verdict.NO_DATA),
        ([], State.PASSED, Verdict.NO_DATA),
        ([said("pass", **{**real, "model_digest": "sha256:" + "cd" * 32})], State.PASSED, Verdict.STALE),
        ([said("pass", **{**real, "synthetic": True})], State.PASSED, Verdict.NO_DATA),
        ([said("pass", **{**real, "target": "host"})], State.PASSED, Verdict.NO_DATA),
        ([said("pass", **real)], State.PASSED, Verdict.PASS),
    ):
        ran("production", script, *results, *(expected if results else ()), state=state)
        assert stored(release, key) is verdict, results
    ran("production", script, said("out_of_scope", **real))
    assert stored(release, key) is Verdict.NO_DATA


@pytest.mark.django_db
@pytest.mark.parametrize("key", INSTALLATION_BOXES)
def test_installation_boxes__hear_runs_with_their_arguments_only(begin: Callable[..., Release], key: str) -> None:
    release = begin()
    script, arguments, written = INSTALLATION_BOXES[key]
    for others in ({}, {"standard": "SOC2"}, {"gone": "1"}):
        run = ran("production", script, said("pass"))
        Run.objects.filter(pk=run.pk).update(arguments=others)
    assert stored(release, key) is Verdict.NO_DATA
    assert " --" in Evidence.objects.get(release=release, box=key).sentence

    asked = services.check_run(release=release, box=key, actor=SYSTEM)
    assert asked.arguments == arguments
    ended = {"state": State.PASSED.value, "finished_at": clock.now(), "results": [said("pass")]}
    Run.objects.filter(pk=asked.pk).update(**ended)
    ran("production", script, said("fail"), state=State.FAILED)
    assert stored(release, key) is Verdict.PASS, "the newest run, without the arguments, decides nothing"
    with time_machine.travel(clock.now() + timedelta(days=31), tick=False):
        rows = (row for group in selectors.checklist(release) for row in group.rows)
        assert next(row.standing.verdict for row in rows if row.box.key == key) is Verdict.STALE

    run = ran("production", script, said("fail"), state=State.FAILED)
    Run.objects.filter(pk=run.pk).update(arguments=written)
    assert stored(release, key) is Verdict.FAIL
    run = ran("production", script, said("pass", model_digest="sha256:" + "cd" * 32))
    Run.objects.filter(pk=run.pk).update(arguments=written)
    assert stored(release, key) is Verdict.STALE, "what names a model is bound to it"


def repeated(script: str, *states: State, needs: int, values: tuple[float, ...] = ()) -> int:
    """Store a series, newest last; return its number."""
    series = ScriptSeries.objects.create(times=len(states), needs=needs)
    for index, state in enumerate(states):
        results = [result("litert.memory.peak", values[index])] if index < len(values) else []
        run = ran("staging", script, *results, state=state)
        Run.objects.filter(pk=run.pk).update(series=series)
    return series.pk


MEMORY = "scripts/test-memory-usage.sh"
GOOD, BAD = 1.5e9, 2.5e9


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("states", "values", "verdict", "words"),
    [
        ("PPF", (GOOD, GOOD, BAD), Verdict.PASS, "median 1\u202f500 MB, wanted < 2\u202f000 MB; 2 of 3 pass, 2 needed"),
        ("FPP", (BAD, GOOD, GOOD), Verdict.PASS, "2 of 3 pass, 2 needed"),
        ("FFP", (BAD, BAD, GOOD), Verdict.FAIL, "1 of 3 pass, 2 needed"),
        ("FNP", (BAD,), Verdict.NO_DATA, "0 of 3 pass, 2 needed"),
        ("PQQ", (GOOD,), Verdict.NO_DATA, "under way: 1 of 3 runs have ended"),
        ("PPR", (GOOD, GOOD), Verdict.NO_DATA, "under way: 2 of 3 runs have ended"),
        ("PCC", (GOOD,), Verdict.NO_DATA, "1 of 3 pass, 2 needed"),
        ("PPP", (), Verdict.NO_DATA, "measured nothing"),
    ],
)
def test_series__counts_as_a_whole_when_it_is_complete__and_never_by_its_newest_run(
    begin: Callable[..., Release], states: str, values: tuple[float, ...], verdict: Verdict, words: str
) -> None:
    release = begin()
    ran("staging", MEMORY, result("litert.memory.peak", GOOD if verdict is not Verdict.PASS else BAD))
    known = {
        "P": State.PASSED,
        "F": State.FAILED,
        "N": State.NO_DATA,
        "Q": State.QUEUED,
        "R": State.RUNNING,
        "C": State.CANCELLED,
    }
    number = repeated(MEMORY, *(known[one] for one in states), needs=2, values=values)
    found = ask(release, "memory_limit")
    assert (found.verdict, words in found.sentence) == (verdict, True), found.sentence
    assert found.sentence.startswith(f"Series {number} (2 of 3 needed)")
    ran("staging", MEMORY, result("litert.memory.peak", GOOD))
    assert ask(release, "memory_limit").verdict is Verdict.PASS, "a newer run alone"


@pytest.mark.django_db
def test_series__each_line_passes_often_enough_but_too_few_runs_do__fails(begin: Callable[..., Release]) -> None:
    release = begin()
    series = ScriptSeries.objects.create(times=2, needs=1)
    slow = result("litert.prefill.throughput", 100.0, outcome="fail")
    large = result("litert.memory.peak", BAD, outcome="fail")
    for results in ([slow, *SIX[3:]], [SIX[0], large, *SIX[4:]]):
        run = ran("production", BENCHMARK, *results, state=State.FAILED)
        Run.objects.filter(pk=run.pk).update(series=series)
    found = ask(release, "performance_tests")
    assert {line.verdict for line in found.lines} == {Verdict.PASS, None}
    assert (found.verdict, "Together they say FAIL" in found.sentence) == (Verdict.FAIL, True), found.sentence


@pytest.mark.django_db
@pytest.mark.parametrize(
    "state,verdict",
    [
        (State.PASSED, Verdict.NO_DATA),
        (State.FAILED, Verdict.FAIL),
        (State.LOST, Verdict.ERROR),
        (State.NO_DATA, Verdict.NO_DATA),
    ],
)
def test_run_without_results__never_passes(begin: Callable[..., Release], state: State, verdict: Verdict) -> None:
    release = begin()
    ran("production", BENCHMARK, state=state)
    assert ask(release, "performance_tests").verdict is verdict


@pytest.mark.django_db
def test_staging_boxes__of_a_production_release__hear_staging_only(begin: Callable[..., Release]) -> None:
    release = begin(backends=["cpu", "gpu"])
    ran("production", BENCHMARK, *SIX)
    for key in ("memory_limit", "backend_switching", "backends_tested"):
        assert ask(release, key).verdict is Verdict.NO_DATA
    ran("staging", "scripts/test-memory-usage.sh", result("litert.memory.peak", 2e9))
    ran("staging", "scripts/test-backend-switching.sh", result("litert.backend.switch.duration", 0.499))
    ran("staging", "scripts/test-cpu-performance.sh", SIX[0])
    assert ask(release, "memory_limit").verdict is Verdict.FAIL  # strictly below 2 GB
    assert ask(release, "backend_switching").verdict is Verdict.PASS
    tested = ask(release, "backends_tested")
    assert (tested.verdict, tested.sentence) == (
        Verdict.NO_DATA,
        "1 of 2 declared backends measured in staging: CPU.",
    )
    ran("staging", "scripts/test-gpu-performance.sh", SIX[1])
    assert ask(release, "backends_tested").verdict is Verdict.PASS


@pytest.mark.django_db
@pytest.mark.parametrize("environment,expected", [("production", "NO_DATA"), ("staging", "NO_DATA"), ("demo", "PASS")])
def test_synthetic_run__ticks_in_demo_only(begin: Callable[..., Release], environment: str, expected: str) -> None:
    release = begin(environment)
    host = {"synthetic": True, "target": "host", "host": "linux x86_64, 2 cores"}
    for where in ("production", "staging", "demo"):
        ran(where, BENCHMARK, *({**one, **host} for one in SIX))
    refreshing.release_refresh(release=release)
    ticked = ("performance_tests", "memory_limit", "backend_switching", "backends_tested")
    for kept in Evidence.objects.filter(release=release, box__in=ticked):
        assert (kept.verdict, kept.synthetic) == (expected, True), kept.box
        assert ("Wrong subject: synthetic model, x86 host." in kept.sentence) is (environment != "demo")


@pytest.mark.django_db
def test_run_on_an_emulator__is_no_device(begin: Callable[..., Release]) -> None:
    release = begin("staging")
    ran("staging", BENCHMARK, *({**one, "emulated": True} for one in SIX))
    refreshing.release_refresh(release=release)
    for kept in Evidence.objects.filter(release=release, box__in=("memory_limit", "backend_switching")):
        assert kept.verdict == "NO_DATA"
        assert "Wrong subject: an Android emulator." in kept.sentence


# ---- cloud ----


class _Cloud(BaseHTTPRequestHandler):
    answer: ClassVar[tuple[int, bytes]] = (200, b"{}")

    def do_POST(self) -> None:
        """Answer as told."""
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def cloud(settings: Any) -> Iterator[type[_Cloud]]:
    """A cloud AI that answers as told."""
    server = HTTPServer(("127.0.0.1", 0), _Cloud)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.CLOUD_AI_URL = f"http://127.0.0.1:{server.server_port}"
    yield _Cloud
    server.shutdown()
    server.server_close()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "answer,verdict,words",
    [
        ((200, b'{"text": "hazard"}'), Verdict.PASS, "wanted < 2 s"),
        ((200, b'{"text": ""}'), Verdict.FAIL, "holds no text"),
        ((200, b"[]"), Verdict.FAIL, "holds no text"),
        ((200, b"<html>"), Verdict.FAIL, "gave no answer"),
        ((503, b"{}"), Verdict.FAIL, "gave no answer"),
    ],
)
def test_cloud_fallback__asked_for_real(
    begin: Callable[..., Release], cloud: type[_Cloud], answer: tuple[int, bytes], verdict: Verdict, words: str
) -> None:
    cloud.answer = answer
    found = ask(begin(), "cloud_fallback")
    assert (found.verdict, words in found.sentence) == (verdict, True), found.sentence


@pytest.mark.django_db
def test_cloud_fallback__simulated_or_unset__does_not_tick_production(
    begin: Callable[..., Release], cloud: type[_Cloud], settings: Any
) -> None:
    release = begin()
    cloud.answer = (200, json.dumps({"text": "x", "simulated": True}).encode())
    refreshing.release_refresh(release=release, at_once=True)
    kept = Evidence.objects.get(release=release, box="cloud_fallback")
    assert (kept.verdict, kept.sentence.startswith("Wrong subject: simulated cloud.")) == ("NO_DATA", True)
    settings.CLOUD_AI_URL = ""
    assert ask(release, "cloud_fallback").verdict is Verdict.NO_DATA


# ---- telemetry ----

ALWAYS = ("litert.inferences", "gen_ai.client.operation.duration", "hawkops.flags.revision")


def reported(environment: str, metric: str, *, device_class: str = "tensor-g4", simulated: bool = False) -> None:
    """Store one value of now as the door does, which hands the revision to the census and stores no series of it."""
    if metric == "hawkops.flags.revision":
        devices = {"environment": environment, "device_class": device_class, "simulated": simulated}
        now = clock.now()
        CensusDevice.objects.create(
            **devices, device_id="device-1", obeyed_revision=1, first_seen_at=now, last_seen_at=now
        )
        return
    sketch = Sketch()
    sketch.add(1.0)
    series = Series.objects.create(
        environment=environment, metric=metric, device_class=device_class, simulated=simulated
    )
    at = clock.now().replace(microsecond=0)
    RollupPartial.objects.create(
        series=series,
        bucket_at=at - timedelta(seconds=at.second % 10),
        width_seconds=10,
        count=1,
        total=1.0,
        squares=1.0,
        low=1.0,
        high=1.0,
        buckets=sketch.buckets_bytes(),
    )


@pytest.mark.django_db
def test_metrics_collection__every_metric_that_applies_is_young__passes(begin: Callable[..., Release]) -> None:
    release = begin()
    assert ask(release, "metrics_collection").verdict is Verdict.NO_DATA
    for metric in ALWAYS:
        reported("production", metric)
    found = ask(release, "metrics_collection")
    assert (found.verdict, found.subject) == (Verdict.PASS, {})
    assert "LiteRT is served to nobody" in found.sentence
    CensusDevice.objects.update(obeyed_revision=0)
    assert "none: hawkops.flags.revision." in ask(release, "metrics_collection").sentence
    assert ask(release, "metrics_collection", now=clock.now() + timedelta(minutes=10)).verdict is Verdict.FAIL


@pytest.mark.django_db
def test_metrics_collection__litert_served_but_silent__fails_by_name(begin: Callable[..., Release]) -> None:
    release = begin()
    for metric in ALWAYS:
        reported("production", metric)
    Flag.objects.filter(environment="production", key="litert_enabled").update(thousandths=1000)
    found = ask(release, "metrics_collection")
    assert found.verdict is Verdict.FAIL
    assert "litert.prefill.throughput" in found.sentence


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [{"simulated": True}, {"device_class": "synthetic-host"}])
def test_metrics_collection__only_unreal_devices__never_tick_production(
    begin: Callable[..., Release], kind: dict[str, Any]
) -> None:
    release = begin()
    for metric in ALWAYS:
        reported("production", metric, **kind)
    refreshing.release_refresh(release=release)
    kept = Evidence.objects.get(release=release, box="metrics_collection")
    assert (kept.verdict, kept.synthetic) == ("NO_DATA", True)
    assert "Wrong subject: simulated or synthetic devices" in kept.sentence


# ---- hash assignment, through a real gateway ----


@pytest.mark.fresh_database
def test_hash_assignment__published_vectors__fall_into_their_buckets_at_the_live_door(
    gateway: Gateway, begin: Callable[..., Release], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATEWAY_URL = gateway.url
    release = begin("staging")
    flags.flag_percentage_set(
        environment="staging", key="litert_enabled", percent=50, actor=SYSTEM, reason="x", expected_revision=None
    )
    found = ask(release, "hash_assignment")
    assert (found.verdict, found.sentence) == (
        Verdict.PASS,
        "12 of 12 published vectors fell into their buckets at the gateway.",
    )
    ask(release, "hash_assignment")
    assert DeviceKey.objects.filter(environment="staging").count() == 1, "one key of its own, made once"
    assert not CensusDevice.objects.filter(environment="staging").exists(), "a probe is no device"
    bent = {**assignment.vectors(), "vectors": [["hawkops.probe/1", 3]]}
    monkeypatch.setattr(assignment, "vectors", lambda: bent)
    assert ask(release, "hash_assignment").verdict is Verdict.FAIL
    settings.GATEWAY_URL = "http://127.0.0.1:9"
    assert ask(release, "hash_assignment").verdict is Verdict.ERROR


# ---- log aggregation, through a real gateway ----


@pytest.mark.fresh_database
def test_log_aggregation__a_marked_line__is_found_again_and_counts_as_no_device(
    gateway: Gateway, begin: Callable[..., Release], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATEWAY_URL = gateway.url
    release = begin("staging")
    found = ask(release, "log_aggregation")
    assert found.verdict is Verdict.PASS, found.sentence
    assert "wanted < 30 s" in found.sentence
    line = LogLine.objects.get()
    assert (line.environment, line.device_id, line.body, line.crash) == ("staging", "", "", False)
    assert line.event_name.startswith("hawkops.probe.")
    assert not CensusDevice.objects.filter(environment="staging").exists()

    # what arrives elsewhere is not found: looked for in production, sent with staging's key
    monkeypatch.setattr(loglines, "probe_key_ensure", lambda *, environment: probe_key_ensure(environment="staging"))
    named = selectors.runbook(release).box("log_aggregation")
    assert named is not None
    box = named[1]
    hasty = replace(box, limit=Limit(below=0.5))
    lost = CHECKS[box.by].ask(Question(release, hasty, "production", clock.now()))
    assert (lost.verdict, "not found" in lost.sentence) == (Verdict.FAIL, True)
    settings.GATEWAY_URL = "http://127.0.0.1:9"
    assert ask(release, "log_aggregation").verdict is Verdict.ERROR


# ---- the sweep ----


@pytest.mark.django_db
def test_release_refresh__a_check_that_breaks__is_an_error_and_stops_no_other(
    begin: Callable[..., Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = begin("demo")

    def broken(_asked: Question) -> Finding:
        raise RuntimeError("boom")

    monkeypatch.setitem(CHECKS, "memory_limit", Check(broken))
    refreshing.release_refresh(release=release)
    kept = Evidence.objects.get(release=release, box="memory_limit")
    assert (kept.verdict, kept.sentence) == ("ERROR", "The check broke: RuntimeError. The worker's log says more.")
    assert Evidence.objects.filter(release=release).count() == AUTOMATIC


@pytest.mark.django_db
def test_task__asks_running_releases_and_spares_probes_until_they_are_due(
    begin: Callable[..., Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = begin("demo")
    release = begin("demo", app_version="2.4.1", supersede=True)
    asked: list[str] = []

    def noted(question: Question) -> Finding:
        asked.append(question.box.key)
        return Finding(Verdict.PASS, "fine")

    for name, check in list(CHECKS.items()):
        monkeypatch.setitem(CHECKS, name, Check(noted, check.every))
    tasks.refresh()
    assert (len(asked), Evidence.objects.filter(release=old).count()) == (AUTOMATIC, 0)
    asked.clear()
    tasks.refresh()
    validated = {box.key for group in load().runbook.validation for box in group.boxes}
    assert {"cloud_fallback", "hash_assignment", "log_aggregation", *validated}.isdisjoint(asked)
    assert len(asked) == 25
    asked.clear()
    tasks.refresh(release_id=release.pk, at_once=True)
    assert len(asked) == AUTOMATIC
    assert all(e.expires_at > datetime.now(tz=UTC) for e in Evidence.objects.filter(release=release) if e.expires_at)
