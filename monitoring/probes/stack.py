"""Whether what monitors is itself alive: asked directly, each part by something only a living one can answer."""

import argparse
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from kombu.exceptions import OperationalError as BrokerError

from hawkops.accounts.services.credentials import probe_key_ensure
from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.scripts.probes import cluster
from hawkops.scripts.probes.findings import Finding, failed, not_judged, passed, unmeasured
from monitoring.domain.criteria import spoken
from monitoring.probes.lines import head, told
from monitoring.probes.recovery import critical_alerts
from monitoring.selectors import alerts
from monitoring.selectors.criteria import criteria
from monitoring.selectors.health import health
from monitoring.selectors.logs import last_line_id, lines_since
from monitoring.selectors.telemetry import last_data_at

SECONDS = 5.0
HEARTBEAT_LATE = timedelta(seconds=60)
# the runbook's box "log aggregation working": a marked line is found within 30 s
FOUND_SECONDS = 30.0
PING_SECONDS = 2.0


def stack(given: argparse.Namespace) -> Iterator[Finding]:
    """Check the manifest, and every part of the running stack: evaluator, beat, workers, doors, /metrics, health checks."""
    now = clock.now()
    head(given.environment, "manifest and running parts", now=now)

    def everything() -> Iterator[Finding]:
        yield from cluster.manifest_findings()
        yield from cluster.deployed_findings()
        yield _rules()
        yield _evaluator(given.environment)
        yield _beat()
        yield from _workers()
        yield from _doors(given.environment)
        yield _metrics(given.environment)
        yield from _checks_run(given.environment, now)

    yield from told(everything(), good="The monitoring stack runs")


def system_health(given: argparse.Namespace) -> Iterator[Finding]:
    """Look at everything once, fast enough to be repeated every ten seconds."""
    now = clock.now()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        yield failed("Database", str(error).strip().splitlines()[0][:200])
        return

    def everything() -> Iterator[Finding]:
        yield passed("Database", "answers")
        yield from _workers()
        yield _beat()
        yield _evaluator(given.environment)
        yield _asked("Console", f"{settings.CONSOLE_URL}/healthz")
        yield _asked("Gateway", f"{settings.GATEWAY_URL}/healthz")
        for one in health(given.environment, now=now):
            words = one.sentence if one.verdict is Verdict.PASS else f"{one.verdict.label}: {one.sentence}"
            outcome = {Verdict.PASS: passed, Verdict.FAIL: failed}.get(one.verdict, unmeasured)
            yield outcome(one.check.title, words)
        yield _telemetry(given.environment, now)
        yield from critical_alerts(given.environment)

    yield from told(everything(), good="The system is healthy")


# ---- parts ----


def _rules() -> Finding:
    """Criteria are stored, and none of them is unusable."""
    found = criteria()
    if not found:
        return failed("Criteria", "none is stored, so nothing can alert: run `manage.py seed`")
    if broken := [one.key for one in found if one.broken]:
        return failed("Criteria", f"can't be used: {', '.join(broken[:5])}")
    return passed("Criteria", f"{len(found)} stored, all usable", value=float(len(found)), name="criteria.stored")


def _evaluator(environment: str) -> Finding:
    """Alerts of the environment were looked at just now."""
    found = alerts.watched(environment)
    if found.looked_at is None:
        return failed(
            "Alert evaluation", f"alerts of {environment} were never evaluated: is a worker of `alerts` running?"
        )
    age = max(timedelta(), clock.now() - found.looked_at)
    seconds = age.total_seconds()
    if found.late:
        return failed(
            "Alert evaluation", f"stopped {spoken(timedelta(seconds=round(seconds)))} ago", value=seconds, unit="s"
        )
    if found.failures:
        return failed("Alert evaluation", f"{found.failures} looks failed since the last good one: {found.error[:150]}")
    return passed("Alert evaluation", f"{seconds:.0f} s ago, every 10 s wanted", value=seconds, unit="s")


def _beat() -> Finding:
    """The history's heartbeat, which only beat and a worker together can write."""
    last = history.last_heartbeat_at()
    if last is None:
        return failed("Beat", "no heartbeat was ever written: is beat running?")
    seconds = max(0.0, (clock.now() - last).total_seconds())
    judged = failed if seconds > HEARTBEAT_LATE.total_seconds() else passed
    return judged("Beat", f"last heartbeat {seconds:.0f} s ago, every 30 s wanted", value=seconds, unit="s")


def queues() -> list[str]:
    """Return the queues that must have a worker: every one that Celery's own routes and schedule name."""
    conf = current_app.conf
    routed = {route["queue"] for route in conf.task_routes.values()}
    planned = {plan["options"]["queue"] for plan in conf.beat_schedule.values()}
    return sorted({conf.task_default_queue, *routed, *planned})


def _workers() -> Iterator[Finding]:
    """Every queue has a worker that answers."""
    try:
        said = current_app.control.inspect(timeout=PING_SECONDS).active_queues()
    except (OSError, BrokerError) as error:
        yield failed("Broker", f"can't be reached: {error}")
        return
    served: dict[str, list[str]] = {}
    for worker, its in (said or {}).items():
        for queue in its:
            served.setdefault(queue["name"], []).append(worker)
    for name in queues():
        if name in served:
            yield passed(f"Worker of {name}", f"{', '.join(sorted(served[name]))} answers")
        else:
            yield failed(f"Worker of {name}", f"nobody takes from it (asked for {PING_SECONDS:.0f} s)")


def _asked(title: str, url: str) -> Finding:
    try:
        answer = httpx.get(url, timeout=SECONDS)
    except httpx.HTTPError as error:
        return failed(title, f"{url}: {error}")
    judged = passed if answer.status_code == httpx.codes.OK else failed
    return judged(title, f"{url} answered {answer.status_code} in {answer.elapsed.total_seconds() * 1000:.0f} ms")


def _doors(environment: str) -> Iterator[Finding]:
    """Telemetry is taken: an empty metrics payload is answered, and a marked log line is found again in the database."""
    key = probe_key_ensure(environment=environment)
    headers = {"Authorization": f"Bearer {key}"}
    mark = f"hawkops probe {uuid.uuid4().hex}"
    record = {
        "timeUnixNano": str(int(clock.now().timestamp() * 1e9)),
        "severityNumber": 9,
        "body": {"stringValue": mark},
    }
    logs = {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}]}
    newest = last_line_id(environment)
    try:
        with httpx.Client(timeout=SECONDS, headers=headers) as client:
            answer = client.post(f"{settings.GATEWAY_URL}/v1/metrics", json={"resourceMetrics": []})
            end = time.monotonic() + SECONDS
            while answer.status_code == httpx.codes.UNAUTHORIZED and time.monotonic() < end:  # a key made just now
                time.sleep(0.2)
                answer = client.post(f"{settings.GATEWAY_URL}/v1/metrics", json={"resourceMetrics": []})
            judged = passed if answer.status_code == httpx.codes.OK else failed
            yield judged("Ingest, metrics", f"/v1/metrics answered {answer.status_code}, wanted 200")
            began = time.monotonic()
            answer = client.post(f"{settings.GATEWAY_URL}/v1/logs", json=logs)
    except httpx.HTTPError as error:
        yield failed("Ingest", f"{settings.GATEWAY_URL}: {error}")
        return
    if answer.status_code != httpx.codes.OK:
        yield failed("Ingest, logs", f"/v1/logs answered {answer.status_code} {answer.text[:120]}")
        return
    while time.monotonic() - began < FOUND_SECONDS:
        if any(line.body == mark for line in lines_since(newest, environment=environment)):
            seconds = time.monotonic() - began
            yield passed(
                "Ingest, logs", f"a marked line was found again after {seconds:.1f} s", value=seconds, unit="s"
            )
            return
        time.sleep(0.2)
    yield failed("Ingest, logs", f"a marked line was taken and not found within {FOUND_SECONDS:.0f} s")


def _metrics(environment: str) -> Finding:
    """Prometheus is answered, where it is let in at all."""
    url = f"{settings.CONSOLE_URL}/{environment}/metrics"
    if not settings.METRICS_TOKEN:
        return not_judged("/metrics", "METRICS_TOKEN is not set, so Prometheus is not served")
    try:
        answer = httpx.get(url, headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"}, timeout=2 * SECONDS)
    except httpx.HTTPError as error:
        return failed("/metrics", f"{url}: {error}")
    many = sum(not line.startswith("#") for line in answer.text.splitlines())
    good = answer.status_code == httpx.codes.OK and "hawkops_criterion_verdict" in answer.text
    return (passed if good else failed)("/metrics", f"{url} answered {answer.status_code} with {many} samples")


def _checks_run(environment: str, now: datetime) -> Iterator[Finding]:
    """Health checks run at their pace, whatever they find: what they find is the system's health, not the stack's."""
    for one in health(environment, now=now):
        title = f"Health check: {one.check.title}"
        if one.last_at is None or one.verdict is Verdict.STALE:
            yield failed(title, one.sentence)
        else:
            age = max(0.0, (now - one.last_at).total_seconds())
            yield passed(title, f"run {age:.0f} s ago, every {spoken(one.check.interval)} wanted", value=age, unit="s")


def _telemetry(environment: str, now: datetime) -> Finding:
    newest = last_data_at(environment)
    if newest is None:
        return unmeasured("Telemetry", f"no device ever reported in {environment}")
    age = max(timedelta(), now - newest)
    late = timedelta(minutes=2)
    words = f"newest {spoken(timedelta(seconds=round(age.total_seconds())))} old, at most {spoken(late)} wanted"
    return (failed if age > late else passed)("Telemetry", words, value=age.total_seconds(), unit="s")
