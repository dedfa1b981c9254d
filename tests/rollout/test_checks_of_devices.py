"""Checks that hear devices: crashes of a build, throughput targets; and what makes evidence stale."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.scripts import own
from monitoring.models import LogLine
from monitoring.services.criteria import criteria_seed
from rollout.domain.gates import Finding
from rollout.models import Release
from rollout.selectors import releases as selectors
from rollout.services import releases as services
from tests.monitoring.rows import seen, stored
from tests.rollout.test_checks import SYSTEM, ask
from tests.rollout.test_checks import begin as begin

Begin = Callable[..., Release]


def crash(version: str, *, environment: str = "staging", simulated: bool = False, days: int = 0) -> None:
    """Keep a crash as the door would."""
    at = clock.now() - timedelta(days=days)
    LogLine.objects.create(
        environment=environment,
        at=at,
        received_at=at,
        app_version=version,
        severity=21,
        event_name="device.crash",
        exception_type="java.lang.IllegalStateException",
        crash=True,
        simulated=simulated,
    )


@pytest.mark.django_db
def test_crash_reporting__of_this_build__passes_and_of_another_fails(begin: Begin) -> None:
    release = begin("staging")
    assert ask(release, "crash_reporting").verdict is Verdict.NO_DATA
    crash("2.3.0")
    other = ask(release, "crash_reporting")
    assert (other.verdict, "2.3.0" in other.sentence) == (Verdict.FAIL, True)
    crash("2.4.0", days=3)
    found = ask(release, "crash_reporting")
    assert found.verdict is Verdict.PASS
    assert found.expires_at is not None
    assert found.expires_at < clock.now() + timedelta(days=12)
    crash("2.4.0", simulated=True)
    assert ask(release, "crash_reporting").subject["simulated"] is True


@pytest.mark.django_db
@pytest.mark.parametrize(("speed", "verdict"), [(900.0, Verdict.PASS), (100.0, Verdict.FAIL)])
def test_targets_validated__reference_devices__against_their_profile(
    begin: Begin, speed: float, verdict: Verdict
) -> None:
    criteria_seed(actor=SYSTEM)
    release = begin("staging", backends=["cpu", "gpu"])
    assert ask(release, "targets_validated").verdict is Verdict.NO_DATA
    at = clock.now() - timedelta(minutes=5)
    for name in ("litert.prefill.throughput", "litert.inferences"):
        outcome = "ok" if name == "litert.inferences" else ""
        stored(name, [speed] * 80, at, environment="staging", device_class="snapdragon-8-gen3", outcome=outcome)
    seen("ref-1", at, environment="staging", device_class="snapdragon-8-gen3")
    found = ask(release, "targets_validated")
    assert found.verdict is verdict, found
    assert "1 not in scope" in found.sentence


@pytest.mark.django_db
def test_checklist__a_script_changed_since_it_ran__is_stale_at_once(begin: Begin) -> None:
    release = begin("staging")
    name = "scripts/test-memory-usage.sh"
    box = selectors.runbook(release).box("memory_limit")
    assert box is not None
    now = own.catalogue()[name].program_digest()
    for digest, verdict in ((now, Verdict.PASS), ("0" * 64, Verdict.STALE)):
        subject = {"model_digest": release.model_digest, "programs": {name: digest}}
        services.evidence_record(release=release, box=box[1], finding=Finding(Verdict.PASS, "Seen.", subject))
        row = next(one for group in selectors.checklist(release) for one in group.rows if one.box.key == "memory_limit")
        assert row.standing.verdict is verdict, row.standing.sentence
