"""`manage.py script_run NAME …`: run a script of the catalogue and follow it; what pipelines call."""

import argparse
import getpass
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.scripts import selectors, services
from hawkops.scripts.exports import run_document, run_junit, series_document, series_junit, series_verdict
from hawkops.scripts.models import Run, State
from hawkops.scripts.own import script
from hawkops.scripts.tasks import run as run_here

POLL_SECONDS = 0.3
SAY_QUEUED_SECONDS = 15.0
# where the script has no exit status of its own, as coreutils and shells would say it
STATUSES = {State.TIMED_OUT.value: 124, State.CANCELLED.value: 130}
BROKEN = 70
SERIES_STATUSES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.NO_DATA: 77, Verdict.ERROR: BROKEN}


class Command(BaseCommand):
    """Exit with the script's own status: 0 passed, 77 could not measure, 124 timed out, 130 cancelled, 70 broken or lost."""

    help = "Run a script in the worker and follow it. Options of the script stand behind its name, ours before it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Ours stand before the name; whatever comes behind it is the script's."""
        parser.add_argument("--in", dest="environment", choices=list(Environment), default=Environment.DEMO.value)
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what a script that changes something would do"
        )
        parser.add_argument("--times", type=int, default=1, help="run it so often, one after the other")
        parser.add_argument("--needs", type=int, help="how many of these must pass; all unless said")
        parser.add_argument("--here", action="store_true", help="run it in this process, not in the worker")
        parser.add_argument("--json", metavar="FILE", help="write the run and its result as JSON; - is stdout")
        parser.add_argument("--junit", metavar="FILE", help="write the result as JUnit XML; - is stdout")
        parser.add_argument("name", help="as in the runbook: scripts/test-cpu-performance.sh")
        parser.add_argument("options", nargs=argparse.REMAINDER, help="the script's own options")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask for the run, follow it, export it, and end with its status."""
        aside = "-" in (options["json"], options["junit"])  # then stdout is the document's alone
        try:
            run = services.run_request(
                environment=options["environment"],
                name=options["name"],
                arguments=script(options["name"]).given(word for word in options["options"] if word != "--"),
                actor=Actor("system:script_run", getpass.getuser()),
                dry_run=options["dry_run"],
                times=options["times"],
                needs=options["needs"],
                send=not options["here"],
            )
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error
        runs = selectors.series_runs(run.environment, run.series_id) if run.series_id else [run]
        if options["here"]:
            threading.Thread(target=_perform, args=([one.pk for one in runs],), name="script", daemon=True).start()
        for one in runs:
            run = self._followed(one, aside=aside)
            verdict = run.verdict.label if run.verdict else run.state
            self.stderr.write(f"Run {run.pk} {verdict}: {run.summary}")
        if run.series_id:
            sys.exit(self._series_told(selectors.series_runs(run.environment, run.series_id), options))
        if options["json"]:
            self._write(options["json"], json.dumps(run_document(run), indent=1) + "\n")
        if options["junit"]:
            self._write(options["junit"], run_junit(run, selectors.output(run, limit=30_000)))
        status = STATUSES.get(run.state, run.exit_code)
        sys.exit(BROKEN if status is None or run.state in (State.ERROR, State.LOST) else status)

    def _series_told(self, runs: list[Run], options: dict[str, Any]) -> int:
        """Say and export what the runs say together; return the status to end with."""
        verdict, document = series_verdict(runs), series_document(runs)
        assert verdict is not None
        said = f"{document['passed']} of {document['times']} passed, {document['needs']} needed."
        self.stderr.write(f"Series {document['series']} {verdict.label}: {said}")
        if options["json"]:
            self._write(options["json"], json.dumps(document, indent=1) + "\n")
        if options["junit"]:
            self._write(options["junit"], series_junit(runs))
        if verdict is Verdict.NO_DATA and any(run.state == State.CANCELLED for run in runs):
            return STATUSES[State.CANCELLED.value]
        return SERIES_STATUSES[verdict]

    def _followed(self, run: Run, *, aside: bool) -> Run:
        """Print lines as they come until the run has ended. Ctrl-C cancels it and waits for its end."""
        number, since, said = 0, time.monotonic(), False
        while True:
            try:
                now = Run.objects.get(pk=run.pk)
                for line in selectors.output(now, after=number):
                    number = line.number
                    stream = self.stderr if aside or line.stream == "stderr" else self.stdout
                    stream.write(line.text)
                if not now.is_open and number >= now.output_lines:
                    return now
                if not said and now.state == State.QUEUED and time.monotonic() - since > SAY_QUEUED_SECONDS:
                    said = True
                    self.stderr.write(f"Run {run.pk} waits in the queue: no worker has taken it yet.")
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                self.stderr.write(f"Run {run.pk} is told to end.")
                services.run_cancel(run=run, actor=Actor("system:script_run", getpass.getuser()))

    def _write(self, target: str, text: str) -> None:
        if target == "-":
            self.stdout.write(text, ending="")
            return
        try:
            Path(target).write_text(text)
        except OSError as error:
            raise CommandError(f"{target} can't be written: {error.strerror}", returncode=BROKEN) from error


def _perform(run_ids: list[int]) -> None:
    try:
        for run_id in run_ids:
            run_here(run_id)
            # another run has what this one needs for itself
            while Run.objects.filter(pk=run_id, state=State.QUEUED.value).exists():
                time.sleep(POLL_SECONDS)
                run_here(run_id)
    finally:
        connections.close_all()
