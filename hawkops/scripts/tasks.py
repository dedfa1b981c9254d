"""Celery's side of the scripts: load by id, run, store. Safe to run twice and late."""

import logging
import os
from ctypes import c_bool
from multiprocessing.sharedctypes import RawValue
from pathlib import Path

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import InterfaceError, OperationalError

from hawkops.core.env import text
from hawkops.scripts import runner, schedules, services
from hawkops.scripts.errors import StaleToken
from hawkops.scripts.masking import secrets_of
from hawkops.scripts.models import Run, State
from hawkops.scripts.own import script

log = logging.getLogger(__name__)
# In memory that the worker shares with its processes: only the worker itself hears that it is to end.
STOPPING = RawValue(c_bool, False)

MODEL = (
    "MODEL_URL",
    "MODEL_SIGNATURE",
    "MODEL_SIGNING_PUBLIC_KEY",
    "ANDROID_PACKAGE",
    "ANDROID_LITERT_DIR",
    "OUTBOUND_PRIVATE",
)
PLAY = ("PLAY_SERVICE_ACCOUNT", "PLAY_TRACKS", "PLAY_API_URL", "APP_BUNDLE", "ANDROID_PROJECT")
INSTALLATION = tuple(
    f"{name}{suffix}"
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "SMTP_URL",
        "DATABASE_OWNER_URL",
        "CONSOLE_URL",
        "GATEWAY_URL",
        "ALLOWED_HOSTS",
        "METRICS_TOKEN",
        "SECURITY_WEBHOOK",
        "SECURITY_EMAIL",
        "MAIL_FROM",
        "OUTBOUND_PRIVATE",
        "DISK_ENCRYPTION",
    )
    for suffix in ("", "_FILE")
)


@worker_shutting_down.connect
def _stopping(**_: object) -> None:
    STOPPING.value = True


@shared_task(name="scripts.run", acks_late=True, ignore_result=True)
def run(run_id: int) -> None:
    """Run a queued script to its end."""
    taken = services.run_start(run_id=run_id)
    if taken is None:
        return
    try:
        _finish(taken, _run(taken))
    except runner.Stopped:
        services.run_give_back(run=taken)
    except StaleToken:
        log.warning("run.result_refused", extra={"run": run_id})


def _finish(taken: Run, outcome: runner.Outcome) -> None:
    services.run_finish(
        run=taken,
        state=outcome.state,
        exit_code=outcome.exit_code,
        summary=outcome.summary,
        results=outcome.results,
        files=outcome.files,
    )


def _environment(taken: Run, *, installation: bool) -> dict[str, str]:
    """Return what a script gets beyond the allow-list: what it speaks of, and only if it must, the way in."""
    env = {
        "HAWKOPS_ENVIRONMENT": taken.environment,
        "HAWKOPS_RUN": str(taken.pk),
        "HAWKOPS_BACKENDS": ",".join(taken.subject.get("backends", [])) or "cpu",
        "LITERT_MODEL": settings.LITERT_MODEL,
        "CLOUD_AI_URL": settings.CLOUD_AI_URL,
        "HAWKOPS_GATEWAY": settings.GATEWAY_URL,
        "HAWKOPS_DATA": str(settings.DATA),
    }
    # read here, so that a script needs to know nothing of `…_FILE`
    env |= {name: value for name in (*MODEL, *PLAY) if (value := text(name, ""))}
    if installation:
        env |= {name: os.environ[name] for name in INSTALLATION if name in os.environ}
    return env


def _run(taken: Run) -> runner.Outcome:
    entry = script(taken.script)
    env = runner.environment_for(_environment(taken, installation=entry.installation))
    try:
        return runner.run_program(
            [str(entry.path), *entry.command_arguments(taken.arguments, dry_run=taken.dry_run)],
            env=env,
            cwd=entry.path.parents[len(Path(entry.name).parents) - 1],
            timeout_seconds=entry.time_limit(taken.arguments),
            memory_bytes=entry.memory_bytes,
            on_lines=lambda lines: services.run_output_append(run=taken, lines=lines),
            on_heartbeat=lambda: services.run_heartbeat(run=taken),
            is_stopping=lambda: bool(STOPPING.value),
            secrets=secrets_of(env),
            cpu_seconds=entry.cpu_seconds,
        )
    except (StaleToken, runner.Stopped, OperationalError, InterfaceError):
        # without the database nothing can be said of it: its lease runs out, and the sweeper queues it once more
        raise
    except Exception:
        log.exception("run.broken", extra={"run": taken.pk})
        return runner.Outcome(State.ERROR, None, "The runner broke; its log says why.")


@shared_task(name="scripts.reap", ignore_result=True)
def reap() -> None:
    """Resolve runs whose worker is gone, and send forgotten ones again."""
    services.runs_reap()


@shared_task(name="scripts.schedules_due", ignore_result=True)
def schedules_due() -> None:
    """Request the runs that schedules ask for."""
    schedules.schedules_due()
