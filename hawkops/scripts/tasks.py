"""Celery's side of the scripts: load by id, run, store. Safe to run twice and late."""

import logging
from pathlib import Path

from celery import shared_task
from django.conf import settings

from hawkops.scripts import runner, services
from hawkops.scripts.entries import script
from hawkops.scripts.errors import StaleToken
from hawkops.scripts.models import Run, State

log = logging.getLogger(__name__)


@shared_task(name="scripts.run", acks_late=True, ignore_result=True)
def run(run_id: int) -> None:
    """Run a queued script to its end."""
    taken = services.run_start(run_id=run_id)
    if taken is None:
        return
    try:
        outcome = _run(taken)
        services.run_finish(
            run=taken,
            state=outcome.state,
            exit_code=outcome.exit_code,
            summary=outcome.summary,
            results=outcome.results,
        )
    except StaleToken:
        log.warning("run.result_refused", extra={"run": run_id})


def _run(taken: Run) -> runner.Outcome:
    entry = script(taken.script)
    env = runner.environment_for(
        {
            "HAWKOPS_ENVIRONMENT": taken.environment,
            "HAWKOPS_BACKENDS": ",".join(taken.subject.get("backends", [])) or "cpu",
            "LITERT_MODEL": settings.LITERT_MODEL,
            "CLOUD_AI_URL": settings.CLOUD_AI_URL,
            "HAWKOPS_GATEWAY": settings.GATEWAY_URL,
            "HAWKOPS_DATA": str(settings.DATA),
        }
    )
    secrets = frozenset(secret for secret in (settings.SECRET_KEY,) if len(secret) >= 8)
    try:
        return runner.run_program(
            [str(entry.path), *entry.command_arguments(taken.arguments)],
            env=env,
            cwd=Path(settings.SCRIPTS_DIR),
            timeout_seconds=entry.time_limit(taken.arguments),
            memory_bytes=entry.memory_bytes,
            on_lines=lambda lines: services.run_output_append(run=taken, lines=lines),
            on_heartbeat=lambda: services.run_heartbeat(run=taken),
            secrets=secrets,
        )
    except StaleToken:
        raise
    except Exception:
        log.exception("run.broken", extra={"run": taken.pk})
        return runner.Outcome(State.ERROR, None, "The runner broke; its log says why.")


@shared_task(name="scripts.reap", ignore_result=True)
def reap() -> None:
    """Resolve runs whose worker is gone, and send forgotten ones again."""
    services.runs_reap()
