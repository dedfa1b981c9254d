"""Reading runs."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Prefetch, Q

from hawkops.core.errors import InvalidInput
from hawkops.scripts.catalogue import Script
from hawkops.scripts.models import Run, RunFile, RunOutput, Schedule, State
from hawkops.scripts.own import script
from hawkops.scripts.repeats import Flakiness

ENDED = [state.value for state in State if state not in (State.QUEUED, State.RUNNING)]

FAILURES = [State.FAILED.value, State.TIMED_OUT.value]
FLAKY_RUNS = 10
# what runs left, without the contents
FILES = Prefetch("files", queryset=RunFile.objects.defer("content"))


def runs(environment: str, name: str = "", *, limit: int = 30) -> list[Run]:
    """Return runs newest first, of one script or of all."""
    found = Run.objects.filter(environment=environment).prefetch_related(FILES)
    return list((found.filter(script=name) if name else found)[:limit])


def runs_deciding(environment: str, name: str, arguments: Mapping[str, str] | None = None) -> list[Run]:
    """Return the runs that speak for a script: the newest that has ended, with all others of its series, in their order.

    Cancelled and dry runs are passed over, and with `arguments` those that ran with others; empty when there is none. A
    run of a series never speaks by itself, so some of what is returned may be open still.
    """
    ended = Run.objects.filter(environment=environment, script=name, state__in=ENDED, dry_run=False)
    if arguments:
        entry = script(name)
        # few ways to write them are ever used, however many runs there are
        written = ended.order_by().values_list("arguments", flat=True).distinct()
        ended = ended.filter(
            reduce(or_, (Q(arguments=one) for one in written if _same(entry, one, arguments)), Q(pk__in=[]))
        )
    run = ended.exclude(state=State.CANCELLED.value).first()
    if run is None or run.series_id is None:
        return [run] if run else []
    return series_runs(environment, run.series_id)


def _same(entry: Script, one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Say whether two ways to write arguments are one: `on` is `yes`, and several values have no order."""
    try:
        return set(entry.command_arguments(dict(one))) == set(entry.command_arguments(dict(other)))
    except InvalidInput:
        return False  # an option that the script no longer has


def dry_run_passed(
    environment: str, name: str, arguments: dict[str, str], program_sha256: str, *, since: datetime
) -> Run | None:
    """Return the newest dry run of the same program with the same arguments that passed since; None when there is none."""
    dry = Run.objects.filter(environment=environment, script=name, dry_run=True, state=State.PASSED.value)
    return dry.filter(arguments=arguments, program_sha256=program_sha256, finished_at__gte=since).first()


def run_awaited(run: Run) -> Run | None:
    """Return the run that a queued one waits for, because both need the same thing for themselves; None: for none."""
    if run.state != State.QUEUED or not run.concurrency_key:
        return None
    return Run.objects.filter(state=State.RUNNING.value, concurrency_key=run.concurrency_key).first()


def runs_latest(environment: str) -> dict[str, Run]:
    """Return the newest run of each script, whatever its state, dry ones left out. Two queries."""
    found = Run.objects.filter(environment=environment, dry_run=False).order_by("script", "-pk").distinct("script")
    return {run.script: run for run in found.prefetch_related(FILES)}


def series_runs(environment: str, series_id: int) -> list[Run]:
    """Return the runs of a series with it, in their order; none when the environment has no such series."""
    found = Run.objects.filter(environment=environment, series__isnull=False, series=series_id)
    return list(found.select_related("series").order_by("pk"))


def flaky(environment: str, names: Iterable[str]) -> dict[str, Flakiness]:
    """Return the scripts that both passed and failed in their newest like runs. One query.

    Like are those of the same program with the same arguments and subject as the newest. Runs that came to no result
    (no data, cancelled, broken, lost) and dry ones say nothing about it.
    """
    decided = Run.objects.filter(environment=environment, dry_run=False, state__in=[State.PASSED.value, *FAILURES])
    fields = ("script", "pk", "program_sha256", "arguments", "subject", "state")
    newest = [
        decided.filter(script=name).order_by("-pk").values_list(*fields)[:FLAKY_RUNS] for name in sorted(set(names))
    ]
    states: dict[str, list[str]] = {}
    like: dict[str, tuple[object, ...]] = {}
    for name, _, *same, state in sorted(Run.objects.none().values_list(*fields).union(*newest, all=True), key=_newest):
        if like.setdefault(name, tuple(same)) == tuple(same):
            states.setdefault(name, []).append(state)
    marks = {name: Flakiness(sum(state in FAILURES for state in found), len(found)) for name, found in states.items()}
    return {name: mark for name, mark in marks.items() if 0 < mark.failed < mark.runs}


def _newest(row: tuple[Any, ...]) -> int:
    return -int(row[1])


def schedules(environment: str, name: str) -> list[Schedule]:
    """Return the schedules of a script that go on, with their last runs."""
    found = Schedule.objects.filter(environment=environment, script=name, ended_at=None)
    return list(found.select_related("last_run"))


def output(run: Run, *, after: int = 0, limit: int = 2_000) -> list[RunOutput]:
    """Return lines of output after a line number."""
    return list(RunOutput.objects.filter(run=run, number__gt=after)[:limit])


def output_matching(run: Run, words: str, *, limit: int = 500) -> list[RunOutput]:
    """Return lines of output that contain some words, whatever their case."""
    return list(RunOutput.objects.filter(run=run, text__icontains=words)[:limit])


def trend(environment: str, name: str, measurement: str, *, limit: int = 60) -> list[tuple[int, datetime, str, float]]:
    """Return (run, end, backend, value) of one measurement over the newest runs, oldest first."""
    rows: list[tuple[int, datetime, str, float]] = []
    ended = Run.objects.filter(environment=environment, script=name, dry_run=False, state__in=ENDED)
    for run in ended.exclude(finished_at=None)[:limit]:
        for result in run.results:
            if result.get("name") == measurement and isinstance(result.get("value"), int | float):
                assert run.finished_at is not None
                rows.append((run.pk, run.finished_at, str(result.get("backend", "")), float(result["value"])))
    return rows[::-1]
