"""`manage.py doctor`: everything HawkOps stands on, asked directly, with what to do. Needs none of it to run."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from hawkops import doctor
from hawkops.scripts.probes.findings import MARKS, Finding
from hawkops.scripts.probes.measuring import Exit
from hawkops.scripts.probes.results import OUTCOMES


class Command(BaseCommand):
    """Exit 0 when nothing fails, 1 when something does; what could not be judged is said and fails nothing."""

    help = (
        "Ask settings, machine, PostgreSQL, broker, proof, ways out, doors and signs of life what is wrong with them."
    )
    # the checks are its own first lines: one that fails must not keep the rest from being asked
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """For people, or for programs."""
        parser.add_argument("--json", action="store_true", help="print the lines as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and say each line as soon as it is known."""
        found: list[tuple[str, Finding]] = []
        shown = ""
        for heading, one in doctor.examined():
            found.append((heading, one))
            if options["json"]:
                continue
            if heading != shown:
                self.stdout.write(f"\n{heading}")
                shown = heading
            self.stdout.write(f"  {MARKS[one.outcome]} {one.title}: {one.sentence}")
        lines = [one for _, one in found]
        if options["json"]:
            self.stdout.write(json.dumps([_shown(heading, one) for heading, one in found], indent=1))
        else:
            self.stdout.write(f"\n{doctor.summary(lines)}")
        if any(one.outcome is Exit.FAILED for one in lines):
            raise SystemExit(1)


def _shown(heading: str, one: Finding) -> dict[str, Any]:
    outcome = OUTCOMES[one.outcome] if one.outcome is not None else "not_judged"
    said = {"part": heading, "title": one.title, "outcome": outcome, "sentence": one.sentence}
    return said | ({} if one.value is None else {"value": one.value, "unit": one.unit})
