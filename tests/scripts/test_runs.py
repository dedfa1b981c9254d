"""Runs: requested with checked arguments, moved by compare-and-set, resolved when their worker dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hawkops.core import clock
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts import selectors, services
from hawkops.scripts.errors import StaleToken
from hawkops.scripts.events import run_finished
from hawkops.scripts.models import Run, RunOutput, State

ME = Actor("person:1", "releaser-1")
CPU = "scripts/test-cpu-performance.sh"
SUITE = "run_litert_performance_tests.sh"


def request(name: str = CPU, **arguments: str) -> Run:
    """Ask for a run in demo."""
    return services.run_request(environment="demo", name=name, arguments=arguments, actor=ME)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments,words",
    [
        ({"duration": "forever"}, "write 30s"),
        ({"duration": "60m; rm -rf /"}, "write 30s"),
        ({"environment": "moon"}, "not an environment"),
        ({"colour": "red"}, "no option --colour"),
    ],
)
def test_request__unfit_argument__is_refused_and_queues_nothing(arguments: dict[str, str], words: str) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput, match=words):
        request(SUITE, **arguments)
    assert not Run.objects.exists()
    assert Head.objects.get().seq == seq


@pytest.mark.django_db
def test_request__unknown_script__is_said() -> None:
    with pytest.raises(NotFound):
        request("../../etc/passwd")


@pytest.mark.django_db
def test_start__taken_once__a_second_worker_gets_nothing() -> None:
    run = request()
    assert services.run_start(run_id=run.pk) is not None
    assert services.run_start(run_id=run.pk) is None


@pytest.mark.django_db
def test_finish__stale_token__is_refused() -> None:
    run = request()
    first = services.run_start(run_id=run.pk)
    assert first is not None
    Run.objects.filter(pk=run.pk).update(lease_until=clock.now() - timedelta(seconds=1))
    assert services.runs_reap() == (0, 1)
    again = services.run_start(run_id=run.pk)
    assert again is not None and again.attempt == 2
    with pytest.raises(StaleToken):
        services.run_finish(run=first, state=State.PASSED, exit_code=0, summary="late", results=[])
    with pytest.raises(StaleToken):
        services.run_output_append(run=first, lines=[(1, clock.now(), "stdout", "late")])
    services.run_finish(run=again, state=State.FAILED, exit_code=1, summary="100 tok/s", results=[])
    run.refresh_from_db()
    assert run.verdict is Verdict.FAIL
    entry = HistoryEntry.objects.get(verb="run.finished")
    assert entry.cause_id == run.request_entry


@pytest.mark.django_db
def test_reap__second_attempt_lost_too__is_lost_and_said() -> None:
    run = request()
    for _ in range(services.ATTEMPTS_MOST):
        services.run_start(run_id=run.pk)
        Run.objects.filter(pk=run.pk).update(lease_until=clock.now() - timedelta(seconds=1))
        services.runs_reap()
    run.refresh_from_db()
    assert (run.state, run.verdict) == (State.LOST, Verdict.ERROR)
    assert HistoryEntry.objects.filter(verb="run.lost").count() == 1


@pytest.mark.django_db
def test_cancel__queued__ends_at_once_and_running__is_told() -> None:
    queued, running = request(), request()
    services.run_start(run_id=running.pk)
    for run in (queued, running):
        services.run_cancel(run=run, actor=ME)
    queued.refresh_from_db()
    assert queued.state == State.CANCELLED
    assert not services.run_heartbeat(run=Run.objects.get(pk=running.pk))


def test_event__one_subscriber_fails__the_others_hear() -> None:
    heard: list[int] = []

    def fails(run_id: int) -> None:
        raise RuntimeError

    run_finished.subscribe(fails)
    run_finished.subscribe(heard.append)
    try:
        run_finished.publish(7)
    finally:
        run_finished._subscribers.remove(fails)
        run_finished._subscribers.remove(heard.append)
    assert heard == [7]


# ---- one at a time ----


@pytest.mark.django_db
def test_start__what_it_needs_is_taken__it_stays_queued_until_the_other_ends() -> None:
    first, second, third, free = request(), request(SUITE), request(), request("scripts/verify-core-ai.sh")
    taken = services.run_start(run_id=first.pk)
    assert taken is not None
    assert services.run_start(run_id=second.pk) is None
    assert services.run_start(run_id=free.pk) is not None, "it needs nothing for itself"
    second.refresh_from_db()
    assert second.state == State.QUEUED
    assert selectors.run_awaited(second) == first

    Run.objects.filter(pk__in=[second.pk, third.pk]).update(sent_at=clock.now() - timedelta(minutes=9))
    assert services.runs_reap() == (0, 0), "what waits for another is not forgotten"
    services.run_finish(run=taken, state=State.PASSED, exit_code=0, summary="", results=[])
    sent = {run.pk: run.sent_at for run in Run.objects.filter(pk__in=[second.pk, third.pk])}
    assert sent[second.pk] > sent[third.pk], "the oldest one is sent, and only that"  # type: ignore[operator]
    assert services.run_start(run_id=second.pk) is not None
    assert services.run_start(run_id=third.pk) is None


@pytest.mark.django_db
def test_lost__what_it_had_for_itself__is_free_again() -> None:
    first, second = request(), request()
    services.run_start(run_id=first.pk)
    Run.objects.filter(pk=first.pk).update(
        lease_until=clock.now() - timedelta(seconds=1), attempt=services.ATTEMPTS_MOST
    )
    assert services.runs_reap() == (1, 0)
    assert services.run_start(run_id=second.pk) is not None


@pytest.mark.django_db
def test_reap__forgotten_by_the_broker__is_sent_again_once_and_not_every_time() -> None:
    run = request()
    assert services.runs_reap() == (0, 0)
    Run.objects.filter(pk=run.pk).update(sent_at=clock.now() - services.FORGOTTEN * 2)
    assert services.runs_reap() == (0, 1)
    assert services.runs_reap() == (0, 0)


@pytest.fixture
def worker(_fresh_database: None) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start real Celery workers on the test's own database."""
    started: list[subprocess.Popen[bytes]] = []

    def start(queue: str = "scripts", processes: int = 1) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "celery", "-A", "hawkops", "worker", "-Q", queue, "-c", str(processes)]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "warning", "-n", f"{queue}@%h"]
        started.append(subprocess.Popen([*command, *quiet], env={**os.environ}, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def long(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A script that goes on for ten minutes, below a shell, and needs nothing for itself."""
    program = tmp_path / "long.sh"
    head = "# hawkops:\n# title: Long\n# means: It lasts.\n"
    program.write_text(f"#!/bin/sh\n{head}echo begun\nsh -c 'sleep 600; :'\n")
    program.chmod(0o755)
    settings.SCRIPTS_DIR = str(tmp_path)
    monkeypatch.setenv("HAWKOPS_SCRIPTS_DIR", str(tmp_path))
    return program.name


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.1)


@pytest.mark.fresh_database
@pytest.mark.xdist_group("worker")
def test_worker__cpu_test__measures_real_litert_and_keeps_output_and_result(
    worker: Callable[..., "subprocess.Popen[bytes]"],
) -> None:
    worker()
    run = request()
    wait_for(lambda: not Run.objects.get(pk=run.pk).is_open, 60)
    run.refresh_from_db()
    assert run.verdict is Verdict.PASS, run.summary
    assert "tokens/sec" in run.summary
    assert run.synthetic
    assert run.results[0]["name"] == "litert.prefill.throughput"
    assert int(RunOutput.objects.filter(run=run, stream="stdout").get().text) > 243


@pytest.fixture
def beat(_fresh_database: None, tmp_path: Path) -> Iterator[None]:
    """The real beat: it alone makes sweepers due."""
    command = [sys.executable, "-m", "celery", "-A", "hawkops", "beat", "-s", str(tmp_path / "beat"), "--pidfile="]
    process = subprocess.Popen([*command, "-l", "warning"], env={**os.environ}, start_new_session=True)
    yield
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.fresh_database
@pytest.mark.xdist_group("worker")
def test_worker__killed__its_scripts_die_and_every_run_is_resolved_within_a_minute(
    worker: Callable[..., "subprocess.Popen[bytes]"], beat: None, long: str
) -> None:
    process = worker(processes=2)
    worker("critical")
    again, last = request(long), request(long)
    wait_for(lambda: Run.objects.filter(state=State.RUNNING, output_lines__gt=0).count() == 2, 60)
    Run.objects.filter(pk=last.pk).update(attempt=services.ATTEMPTS_MOST)
    # two processes of the worker, and below each a guard, a script, its shell and what that waits for
    wait_for(lambda: len(_descendants(process.pid)) >= 10, 30)
    family = _descendants(process.pid)
    for pid in [process.pid, *_children_of(process.pid)]:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(_alive(pid) for pid in family), 20)
    wait_for(lambda: not Run.objects.filter(state=State.RUNNING).exists(), 60)
    again.refresh_from_db()
    last.refresh_from_db()
    assert (again.state, again.attempt, last.state) == (State.QUEUED, 1, State.LOST)
    assert HistoryEntry.objects.filter(verb__in=["run.requeued", "run.lost"]).count() == 2


@pytest.mark.fresh_database
@pytest.mark.xdist_group("worker")
def test_worker__told_to_end__gives_its_runs_back_at_once_and_another_takes_them(
    worker: Callable[..., "subprocess.Popen[bytes]"], long: str
) -> None:
    process = worker(processes=2)
    again, last = request(long), request(long)
    wait_for(lambda: Run.objects.filter(state=State.RUNNING, output_lines__gt=0).count() == 2, 60)
    Run.objects.filter(pk=last.pk).update(attempt=services.ATTEMPTS_MOST)
    family = _descendants(process.pid)
    process.terminate()
    # well within the lease, and with no sweeper about
    process.wait(services.LEASE.total_seconds() / 2)
    assert not any(_alive(pid) for pid in family)
    again.refresh_from_db()
    last.refresh_from_db()
    assert (again.state, again.attempt, last.state) == (State.QUEUED, 1, State.LOST)
    assert last.summary == "Its worker was told to end."
    assert HistoryEntry.objects.filter(verb__in=["run.requeued", "run.lost"]).count() == 2
    worker()
    wait_for(lambda: Run.objects.get(pk=again.pk).state == State.RUNNING, 60)
    assert Run.objects.get(pk=again.pk).attempt == 2


@pytest.mark.fresh_database
@pytest.mark.xdist_group("worker")
def test_queues__a_long_script_runs__the_alerts_queue_goes_on(
    worker: Callable[..., "subprocess.Popen[bytes]"], beat: None
) -> None:
    worker()
    worker("alerts")
    run = request("scripts/monitor-memory-usage.sh", duration="10m")
    wait_for(lambda: Run.objects.get(pk=run.pk).state == State.RUNNING, 60)
    seen = HistoryEntry.objects.filter(verb="history.heartbeat").count()
    wait_for(lambda: HistoryEntry.objects.filter(verb="history.heartbeat").count() > seen, 60)
    assert Run.objects.get(pk=run.pk).state == State.RUNNING


def _children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    found = _children_of(pid)
    for child in list(found):
        found += _descendants(child)
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
