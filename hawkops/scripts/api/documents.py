"""What both APIs of scripts say: a script, a run's output, and what was not found."""

from collections.abc import Mapping
from typing import Any

from hawkops.core.errors import NotFound
from hawkops.scripts import selectors
from hawkops.scripts.catalogue import Script
from hawkops.scripts.exports import run_document
from hawkops.scripts.models import Run
from hawkops.scripts.selectors import FILES

RUNS_MOST, LINES_MOST = 100, 2_000


def run_found(environment: str, pk: int) -> Run:
    """Return a run of the environment. Raises NotFound."""
    found = Run.objects.filter(pk=pk, environment=environment).prefetch_related(FILES).first()
    if found is None:
        raise NotFound(f"There is no run {pk} in {environment}.")
    return found


def series_found(environment: str, pk: int) -> list[Run]:
    """Return the runs of a series. Raises NotFound."""
    runs = selectors.series_runs(environment, pk)
    if not runs:
        raise NotFound(f"There is no series {pk} in {environment}.")
    return runs


def as_arguments(given: Mapping[str, str | bool]) -> dict[str, str]:
    """Return arguments as a run takes them: switches are on or off."""
    switches = {True: "on", False: "off"}
    return {name: switches[value] if isinstance(value, bool) else value for name, value in given.items()}


def output_document(run: Run, *, after: int) -> dict[str, Any]:
    """Return lines after a line number; `last` is where the next question begins."""
    lines = selectors.output(run, after=after, limit=LINES_MOST)
    return {
        "lines": [
            {"number": line.number, "at": line.at.isoformat(), "stream": line.stream, "text": line.text}
            for line in lines
        ],
        "last": lines[-1].number if lines else after,
        "is_open": run.is_open,
    }


def script_document(entry: Script, latest: Run | None) -> dict[str, Any]:
    """Return a script with its arguments and its newest run."""
    return {
        "name": entry.name,
        "title": entry.title,
        "means": entry.means,
        "group": entry.group,
        "changes_anything": entry.changes_anything,
        "timeout_seconds": entry.timeout_seconds,
        "arguments": [
            {
                "name": argument.name,
                "help": argument.help,
                "choices": list(argument.choices),
                "switch": argument.switch,
                "required": argument.required,
                "many": argument.many,
            }
            for argument in entry.arguments
        ],
        "measurements": [{"name": kind.name, "title": kind.title} for kind in entry.measurements],
        "newest_run": run_document(latest) if latest else None,
    }
