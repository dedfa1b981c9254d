"""Celery: queues with workers of their own, and beat for sweepers. Rows in PostgreSQL are the truth."""

import os
from typing import Any

from celery import Celery, signals

from hawkops.broker import acknowledge_always
from hawkops.core import logs
from hawkops.rhythm import Rhythm

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hawkops.settings")

acknowledge_always()
app = Celery("hawkops")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=False,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": 6 * 3600,
        # a line that is cut without a word is given up: whoever waits on it would wait for ever
        "socket_timeout": 10.0,
        "socket_connect_timeout": 5.0,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
    task_default_queue="critical",
    task_routes={"scripts.run": {"queue": "scripts"}, "monitoring.health_run": {"queue": "health"}},
)


def periodic(name: str, seconds: float, *args: Any, queue: str = "critical") -> dict[str, Any]:
    """A message every `seconds` that expires before the next one: a backlog never piles up."""
    return {"task": name, "schedule": Rhythm(seconds), "args": args, "options": {"expires": seconds, "queue": queue}}


# What must not wait behind a long sweep has a queue and a worker of its own: `alerts`.
app.conf.beat_schedule = {
    "heartbeat": periodic("history.heartbeat", 30.0, queue="alerts"),
    "reap": periodic("scripts.reap", 10.0),
    "schedules": periodic("scripts.schedules_due", 10.0),
    "evidence": periodic("rollout.evidence_refresh", 60.0),
    "plan": periodic("rollout.plan_due", 10.0),
    "guardrails": periodic("rollout.guardrails_due", 60.0),
    "validations": periodic("rollout.validations_due", 60.0),
    # what a drill took from its group comes back in time
    "drills": periodic("rollout.drills_due", 5.0, queue="alerts"),
    "checkpoint": periodic("history.checkpoint", 60.0),
    "verify": periodic("history.verify", 3600.0),
    # often and briefly: one worker does all of these, one after another
    "digests": periodic("monitoring.digests_prune", 60.0),
    "series": periodic("monitoring.series_prune", 86_400.0),
    "health": periodic("monitoring.health_due", 5.0, queue="alerts"),
    "health_prune": periodic("monitoring.health_prune", 3600.0),
    "alerts": periodic("monitoring.alerts_evaluate", 10.0, queue="alerts"),
    "alerts_prune": periodic("monitoring.alerts_prune", 3600.0),
    # a wider tier takes over less often, so that its rows come in few pieces
    "rollups_minute": periodic("monitoring.rollups_move_up", 30.0, 60),
    "rollups_ten_minutes": periodic("monitoring.rollups_move_up", 300.0, 600),
    "rollups_hour": periodic("monitoring.rollups_move_up", 1_800.0, 3_600),
    "panel": periodic("monitoring.panel_merge", 60.0),
    "partitions": periodic("monitoring.partitions_keep", 300.0),
    # the console's courier is faster; this is for when there is none
    "notifications": periodic("incidents.notifications_due", 10.0),
    "incidents": periodic("incidents.incidents_due", 10.0),
    "notifications_prune": periodic("incidents.notifications_prune", 3600.0),
    "escalations": periodic("incidents.escalations_due", 10.0),
    "escalations_audit": periodic("incidents.escalations_audit", 30.0),
    "page_checks": periodic("incidents.page_checks_due", 300.0),
    "recoveries": periodic("incidents.recoveries_due", 60.0),
    "remedies": periodic("incidents.remedies_due", 30.0),
    "on_call_gaps": periodic("incidents.on_call_gaps", 3600.0),
    # among the scripts: a backup takes long, and nothing waits behind one there
    "ended_prune": periodic("accounts.ended_prune", 3600.0),
    "backup": periodic("hawkops.backup_due", 600.0, queue="scripts"),
    "patterns": periodic("monitoring.patterns_scan", 10.0),
}
# A message of each queue that says how long it waited; it may wait as long as its queue may be busy.
PULSES = {"critical": 30.0, "alerts": 30.0, "health": 30.0, "scripts": 30.0}
app.conf.beat_schedule |= {
    f"pulse_{queue}": periodic("hawkops.queue_pulse", seconds, queue, seconds, queue=queue)
    for queue, seconds in PULSES.items()
}
app.autodiscover_tasks()


@signals.setup_logging.connect
def _keep_logging(**_given: Any) -> None:
    """Leave the logs as Django's settings have them: whoever answers this signal sets them up, and that is done."""


@signals.worker_init.connect
def _worker_named(sender: Any, **_given: Any) -> None:
    logs.process_named(f"worker {str(sender.hostname).partition('@')[0]}")


@signals.beat_init.connect
def _beat_named(**_given: Any) -> None:
    logs.process_named("beat")


@signals.before_task_publish.connect
def _send_along(headers: dict[str, Any], **_given: Any) -> None:
    """Let a task's lines carry the id of the request that asked for it."""
    if request_id := logs.fact("request_id"):
        headers["request_id"] = request_id


@signals.task_prerun.connect
def _task_begins(task: Any, task_id: str, **_given: Any) -> None:
    asked_by = getattr(task.request, "request_id", None)
    facts = {"task": task.name, "task_id": task_id} | ({"request_id": asked_by} if asked_by else {})
    task.request.facts_token = logs.begin(**facts)


@signals.task_postrun.connect
def _task_ended(task: Any, **_given: Any) -> None:
    if token := getattr(task.request, "facts_token", None):
        logs.end(token)


# for every thread: the console sends tasks from its pool
app.set_default()
