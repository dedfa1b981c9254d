"""Running health checks: each due moment once, each within its timeout, the ones that hang ended for real."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.live import announce
from hawkops.core.verdicts import Verdict
from hawkops.scripts import runner
from hawkops.scripts.models import VERDICTS, State
from monitoring.domain import health as domain
from monitoring.domain.health import AVAILABILITY, EVERYWHERE, HealthCheck
from monitoring.domain.metrics import INFERENCES
from monitoring.models import HealthResult, Series
from monitoring.selectors import health as selectors
from monitoring.selectors import rollups
from monitoring.selectors.telemetry import may_judge
from monitoring.services import pruning

ROOT = Path(__file__).resolve().parents[2]
KEPT = timedelta(days=7)
FRESH = timedelta(seconds=60)
MEMORY_BYTES = 6_000_000_000
Outcome = tuple[Verdict, str]


def due() -> list[tuple[HealthCheck, str]]:
    """Return what has no result yet for the moment that is due."""
    now = clock.now()
    return [
        (check, environment)
        for check in selectors.checks()
        for environment in (tuple(Environment) if check.per_environment else (EVERYWHERE,))
        if not HealthResult.objects.filter(
            check_key=check.key, environment=environment, due_at=check.due_at(now)
        ).exists()
    ]


def health_run(*, key: str, environment: str, at_once: bool = False) -> HealthResult | None:
    """Run one check if nobody has begun its due moment; None when somebody has. `at_once` makes a moment of its own."""
    check, now = selectors.check(key), clock.now()
    assert check is not None, key
    try:
        with transaction.atomic():
            row = HealthResult.objects.create(
                check_key=key, environment=environment, due_at=now if at_once else check.due_at(now), started_at=now
            )
    except IntegrityError:
        return None
    verdict, sentence = LOOKS[key](check, environment)
    passed = HealthResult.objects.filter(check_key=key, environment=environment, verdict=Verdict.PASS.value).exists()
    verdict, sentence = domain.settled(check, verdict, sentence, passed=passed)
    row.verdict, row.sentence, row.finished_at = verdict.value, sentence[:500], clock.now()
    with transaction.atomic():
        row.save(update_fields=["verdict", "sentence", "finished_at"])
        announce("health", environment)
    return row


def health_prune() -> int:
    """Drop old results."""
    return pruning.rows_drop(HealthResult, "due_at", clock.now() - KEPT)


def _availability(check: HealthCheck, environment: str) -> Outcome:
    now = clock.now()
    classes = _reporting(environment, now)
    if classes:
        return Verdict.PASS, f"successful inferences within {FRESH.total_seconds():.0f} s from {', '.join(classes[:5])}"
    if not Series.objects.filter(environment=environment, metric=INFERENCES).exists():
        return Verdict.NO_DATA, f"no device has ever inferred in {environment}"
    if environment != Environment.DEMO:
        return Verdict.FAIL, f"no device class reported a successful inference within {FRESH.total_seconds():.0f} s"
    verdict, sentence = _program(check, "local-ai")
    return verdict, f"no device reports; {sentence}"


def _reporting(environment: str, now: datetime) -> list[str]:
    series = {
        one.pk: one.device_class
        for one in Series.objects.filter(
            environment=environment,
            metric=INFERENCES,
            outcome__in=("", "ok"),
            backend_actual__in=("cpu", "gpu", "npu"),
        )
        if may_judge(environment, simulated=one.simulated)
    }
    return sorted({series[pk] for pk, at in rollups.newest(series).items() if at >= now - FRESH})


def _validation(check: HealthCheck, _environment: str) -> Outcome:
    return _program(check, "model-integrity")


def _fallback(check: HealthCheck, _environment: str) -> Outcome:
    return _program(check, "cloud-ai")


def _program(check: HealthCheck, probe: str) -> Outcome:
    """Run a probe in a process group of its own that ends, whatever it does, when the check's time is over."""
    env = runner.environment_for(
        {
            "LITERT_MODEL": settings.LITERT_MODEL,
            "CLOUD_AI_URL": settings.CLOUD_AI_URL,
            "HAWKOPS_DATA": str(settings.DATA),
            "PYTHONPATH": str(ROOT),
        }
    )
    outcome = runner.run_program(
        [sys.executable, "-m", "hawkops.scripts.probes", probe],
        env=env,
        cwd=ROOT,
        timeout_seconds=check.timeout.total_seconds(),
        memory_bytes=MEMORY_BYTES,
        on_lines=lambda _lines: None,
        on_heartbeat=lambda: True,
    )
    if outcome.state is State.TIMED_OUT:
        return Verdict.FAIL, f"hung: {outcome.summary}"
    return VERDICTS[outcome.state], outcome.summary.lstrip("✅❌⚪ ")


LOOKS: dict[str, Callable[[HealthCheck, str], Outcome]] = {
    AVAILABILITY: _availability,
    "model-validation": _validation,
    "fallback": _fallback,
}
