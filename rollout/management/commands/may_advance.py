"""`manage.py may_advance ENVIRONMENT`: what keeps the running release from its next phase; the gate of a pipeline."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from rollout.api.advance import advance_out
from rollout.exports import advance_junit
from rollout.selectors.advance import may_advance


class Command(BaseCommand):
    """Exit 0 when every line passes, 1 when one blocks, 2 when no release is under way or the file can't be written."""

    help = "Print each line that blocks the running release's next phase. Exit 0: none, 1: some, 2: no release."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where, and how it is said."""
        parser.add_argument("environment", choices=[one.value for one in Environment])
        parser.add_argument("--json", action="store_true", help="print every line as JSON instead")
        parser.add_argument("--junit", metavar="FILE", help="write every line as JUnit XML too; - is stdout, alone")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say it and end with its status."""
        try:
            found = may_advance(options["environment"])
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error
        target = options["junit"]
        if target and target != "-":
            try:
                Path(target).write_text(advance_junit(found))
            except OSError as error:
                raise CommandError(f"{target} can't be written: {error.strerror}.", returncode=2) from error
        if target == "-":
            self.stdout.write(advance_junit(found), ending="")
        elif options["json"]:
            self.stdout.write(advance_out(found).model_dump_json(indent=1))
        else:
            for line in found.blocking:
                self.stdout.write(f"{line.verdict.label}  {line.group}: {line.title}. {line.sentence}")
            self.stdout.write(found.headline)
        if found.blocking:
            sys.exit(1)
