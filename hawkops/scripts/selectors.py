"""Reading runs."""

from datetime import datetime

from hawkops.scripts.models import Run, RunOutput, State

ENDED = [state.value for state in State if state not in (State.QUEUED, State.RUNNING)]


def runs(environment: str, name: str = "", *, limit: int = 30) -> list[Run]:
    """Return runs newest first, of one script or of all."""
    found = Run.objects.filter(environment=environment)
    return list((found.filter(script=name) if name else found)[:limit])


def run_latest(environment: str, name: str) -> Run | None:
    """Return the newest run that has ended, cancelled ones left out; None when there is none."""
    ended = Run.objects.filter(environment=environment, script=name, state__in=ENDED)
    return ended.exclude(state=State.CANCELLED.value).first()


def runs_latest(environment: str) -> dict[str, Run]:
    """Return the newest run of each script, whatever its state. One query."""
    found = Run.objects.filter(environment=environment).order_by("script", "-pk").distinct("script")
    return {run.script: run for run in found}


def output(run: Run, *, after: int = 0, limit: int = 2_000) -> list[RunOutput]:
    """Return lines of output after a line number."""
    return list(RunOutput.objects.filter(run=run, number__gt=after)[:limit])


def trend(environment: str, name: str, measurement: str, *, limit: int = 60) -> list[tuple[int, datetime, str, float]]:
    """Return (run, end, backend, value) of one measurement over the newest runs, oldest first."""
    rows: list[tuple[int, datetime, str, float]] = []
    ended = Run.objects.filter(environment=environment, script=name, state__in=ENDED, finished_at__isnull=False)
    for run in ended[:limit]:
        for result in run.results:
            if result.get("name") == measurement and isinstance(result.get("value"), int | float):
                assert run.finished_at is not None
                rows.append((run.pk, run.finished_at, str(result.get("backend", "")), float(result["value"])))
    return rows[::-1]
