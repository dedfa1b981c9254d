"""`manage.py probe NAME`: what the runbook's scripts call when the answer lies in this installation."""

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from hawkops.core.errors import HawkOpsError
from hawkops.scripts.checks.registry import check
from hawkops.scripts.probes import findings


class Command(BaseCommand):
    """Exit 0 when every line holds, 77 when something could not be checked, 1 when something fails."""

    help = "Check this installation, line by line."

    def add_arguments(self, parser: CommandParser) -> None:
        """Every check has options of its own."""
        parser.add_argument("name")
        parser.add_argument("options", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one check and print its lines."""
        try:
            wanted = check(options["name"])
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error
        parser = argparse.ArgumentParser(prog=f"probe {wanted.name}", description=wanted.means)
        wanted.options(parser)
        try:
            sys.exit(int(findings.report(wanted.run(parser.parse_args(options["options"])))))
        except HawkOpsError as error:
            raise CommandError(error.message) from error
        except OperationalError as error:
            lack = findings.unmeasured("Database", f"can't be reached: {str(error).strip().splitlines()[0]}")
            sys.exit(int(findings.report([lack])))
