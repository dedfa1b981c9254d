"""The checks that stand now. Each says PASS only with its numbers; what is missing is NO_DATA, in words."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.history.services import history_verify
from hawkops.scripts import selectors as scripts
from hawkops.scripts.models import Run
from monitoring import selectors as monitoring
from monitoring.domain.targets import SYNTHETIC_HOST
from rollout.domain.bucketing import PROBE_PREFIX, bucket
from rollout.domain.gates import Finding
from rollout.models import Release
from rollout.selectors.flags import flag_percentages, flags
from rollout.services.flags import LITERT_FLAGS, SWITCHES

Check = Callable[[Release], Finding]
REGISTRY: dict[str, Check] = {}

DRILL_REASON = "Pre-deployment test"
DRILL_WITHIN = timedelta(days=14)
GAP_SECONDS = 60.0
FALLBACK_SECONDS = 2.0
FRESH_SECONDS = 300.0
VERIFY_AGAIN = timedelta(minutes=15)
# Published vectors: (salt, targeting key, bucket), see tests/rollout/test_bucketing.py.
VECTORS = tuple(("litert_enabled-1", f"{PROBE_PREFIX}{name}") for name in ("1", "2", "3", "Gerät-ü"))


def check(name: str) -> Callable[[Check], Check]:
    """Register a check under the name the runbook's data uses."""

    def register(function: Check) -> Check:
        REGISTRY[name] = function
        return function

    return register


@check("flags.zero")
def flags_zero(release: Release) -> Finding:
    """All four LiteRT flags at 0 %, and none forced on."""
    found = {flag.key: flag for flag in flags(release.environment) if flag.key in LITERT_FLAGS}
    if len(found) < len(LITERT_FLAGS):
        return Finding(Verdict.NO_DATA, f"{len(found)} of {len(LITERT_FLAGS)} LiteRT flags exist.", {})
    above = [f"{key} {flag.percent:g} %" for key, flag in found.items() if flag.thousandths]
    forced = [f"{key} forced on" for key, flag in found.items() if flag.override_variant == "on"]
    if above or forced:
        return Finding(Verdict.FAIL, f"Not at 0 %: {', '.join(above + forced)}.", {})
    return Finding(Verdict.PASS, f"All {len(found)} LiteRT flags stand at 0 %.", {})


@check("flags.drilled")
def flags_drilled(release: Release) -> Finding:
    """Each of the five switches pressed as a drill within 14 days."""
    since = clock.now() - DRILL_WITHIN
    drilled: set[str] = set()
    verbs = ("flag.killed", "flag.override_set")
    for entry in history.entries(environment=release.environment, verbs=verbs, since=since):
        if not entry.reason.startswith(DRILL_REASON):
            continue
        after = entry.after or {}
        drilled.update(key for key in after if key in SWITCHES)
        drilled.add(entry.subject.removeprefix("flag:"))
    missing = [key for key in SWITCHES if key not in drilled]
    if not missing:
        return Finding(Verdict.PASS, f"All {len(SWITCHES)} switches were drilled within 14 days.", {})
    done = len(SWITCHES) - len(missing)
    sentence = f"{done} of {len(SWITCHES)} switches drilled within 14 days; missing: {', '.join(missing)}."
    return Finding(Verdict.FAIL if done else Verdict.NO_DATA, sentence, {})


@check("probe.history")
def history_verifies(release: Release) -> Finding:
    """The chain verifies, with no silence above a minute since it was last started."""
    found = history.verification_latest()
    if found is None or clock.now() - found.at > VERIFY_AGAIN:
        found = history_verify(requested_by="evidence")
    if not found.good:
        return Finding(Verdict.FAIL, f"The chain breaks at entry {found.bad_seq}: {found.why}.", {})
    last = history.last_entry_at()
    silence = (clock.now() - last).total_seconds() if last else None
    if silence is None or silence > GAP_SECONDS:
        return Finding(Verdict.FAIL, f"No entry for {silence or 0:.0f} s; the limit is {GAP_SECONDS:.0f} s.", {})
    return Finding(
        Verdict.PASS,
        f"All {found.head_seq} entries verify, the last is {silence:.0f} s old. Signed checkpoints come with proof.",
        {"chain": found.head_seq},
    )


@check("probe.hash")
def hash_assignment(release: Release) -> Finding:
    """Devices get the answer their bucket says, through the live gateway."""
    percentages = flag_percentages(release.environment)
    if "litert_enabled" not in percentages:
        return Finding(Verdict.NO_DATA, "There is no flag litert_enabled.", {})
    key_path = settings.DATA / "device.key"
    if release.environment != "demo" or not key_path.exists():
        return Finding(
            Verdict.NO_DATA, f"No device key of {release.environment} is at hand to ask the gateway with.", {}
        )
    flag = next(flag for flag in flags(release.environment) if flag.key == "litert_enabled")
    if flag.override_variant:
        return Finding(Verdict.NO_DATA, "An override hides the buckets; lift it to check.", {})
    for salt, device in VECTORS:
        try:
            answer = _post(
                f"{settings.GATEWAY_URL}/ofrep/v1/evaluate/flags/litert_enabled",
                {"context": {"targetingKey": device}},
                key_path.read_text().strip(),
            )
        except (OSError, ValueError) as error:
            return Finding(Verdict.ERROR, f"The gateway did not answer: {error}.", {})
        expected = bucket(salt, device) < flag.thousandths
        if answer.get("value") is not expected:
            return Finding(Verdict.FAIL, f"{device} got {answer.get('value')}, its bucket says {expected}.", {})
    return Finding(
        Verdict.PASS, f"{len(VECTORS)} published vectors got the answer their bucket says, at {flag.percent:g} %.", {}
    )


@check("probe.fallback")
def fallback_works(release: Release) -> Finding:
    """A real request through cloud AI within two seconds."""
    if not settings.CLOUD_AI_URL:
        return Finding(Verdict.NO_DATA, "CLOUD_AI_URL names no cloud AI.", {})
    started = time.monotonic()
    try:
        answer = _post(f"{settings.CLOUD_AI_URL}/v1/generate", {"prompt": "checklist probe"}, "")
    except (OSError, ValueError) as error:
        return Finding(Verdict.FAIL, f"Cloud AI did not answer: {error}.", {})
    seconds = time.monotonic() - started
    simulated = bool(answer.get("simulated"))
    subject = {"model": "local stand-in for cloud AI" if simulated else "cloud AI", "host": settings.CLOUD_AI_URL}
    verdict = Verdict.PASS if seconds < FALLBACK_SECONDS else Verdict.FAIL
    sentence = f"Cloud AI answered in {seconds:.2f} s of {FALLBACK_SECONDS:.0f} s."
    return Finding(verdict, sentence, subject, synthetic=simulated)


@check("probe.metrics")
def metrics_arrive(release: Release) -> Finding:
    """Every LiteRT metric that applies has data younger than five minutes."""
    now = clock.now()
    wanted = (
        "litert.prefill.throughput",
        "litert.decode.throughput",
        "gen_ai.client.operation.duration",
        "litert.memory.usage",
        "litert.inferences",
    )
    newest = {name: monitoring.last_data_at(release.environment, names=[name]) for name in wanted}
    if not any(newest.values()):
        return Finding(Verdict.NO_DATA, "No device has reported a LiteRT metric.", {})
    fresh = [name for name, at in newest.items() if at is not None and (now - at).total_seconds() <= FRESH_SECONDS]
    classes = monitoring.device_classes(release.environment)
    synthetic = all(one.simulated or one.name in SYNTHETIC_HOST.device_classes for one in classes)
    subject = {"model": "synthetic and simulated devices" if synthetic else "", "host": "this host"}
    late = [name for name in wanted if name not in fresh]
    if late:
        return Finding(Verdict.FAIL, f"No data in the last 5 min: {', '.join(late)}.", subject, synthetic)
    return Finding(Verdict.PASS, f"All {len(wanted)} LiteRT metrics have data younger than 5 min.", subject, synthetic)


def _from_run(release: Release, name: str, wanted: tuple[str, ...] = ()) -> Finding:
    run = scripts.run_latest(release.environment, name)
    if run is None:
        return Finding(Verdict.NO_DATA, f"{name} has not run in {release.environment}.", {})
    assert run.verdict is not None
    sentence = f"Run {run.pk}: {run.summary}"
    verdict = run.verdict
    if wanted and verdict is Verdict.PASS and (missing := [w for w in wanted if w not in _measured(run)]):
        verdict, sentence = Verdict.NO_DATA, f"Run {run.pk} passed but measured no {', '.join(missing)}."
    return Finding(verdict, sentence, _subject(run), run.synthetic)


def _measured(run: Run) -> set[str]:
    return {str(result["name"]) for result in run.results if isinstance(result.get("value"), int | float)}


def _subject(run: Run) -> dict[str, Any]:
    first = run.results[0] if run.results else {}
    named = {name: first.get(name, "") for name in ("model", "model_digest", "host", "target")}
    return {**named, "run": run.pk}


@check("script.performance")
def performance_gate(release: Release) -> Finding:
    """The six results of the performance tests, of the backends the release declares."""
    return _from_run(
        release,
        "run_litert_performance_tests.sh",
        ("litert.prefill.throughput", "litert.memory.peak", "litert.backend.switch.duration"),
    )


@check("script.memory")
def memory_within(release: Release) -> Finding:
    """Peak memory of an inference below 2 000 MB."""
    return _from_run(release, "scripts/test-memory-usage.sh", ("litert.memory.peak",))


@check("script.switching")
def switching_works(release: Release) -> Finding:
    """Mean switch time below 500 ms."""
    return _from_run(release, "scripts/test-backend-switching.sh", ("litert.backend.switch.duration",))


def _post(url: str, document: dict[str, Any], key: str) -> dict[str, Any]:
    """Ask one of our own addresses. Raises OSError or ValueError."""
    request = urllib.request.Request(  # noqa: S310 - an address from the settings
        url, json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        found = json.loads(answer.read(1_000_000))
    if not isinstance(found, dict):
        raise ValueError("the answer is not an object")
    return found
