"""`manage.py runbook_export VERSION`: a version of the runbook as YAML, byte for byte as it was imported."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hawkops.core.errors import HawkOpsError
from rollout.selectors.runbooks import text_of, version_row


class Command(BaseCommand):
    """Write it to stdout, or to a file that is not there yet."""

    help = "Write a version of the runbook as YAML."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which version, and where to."""
        parser.add_argument("runbook", metavar="VERSION", help="1.0.0")
        parser.add_argument("--output", metavar="FILE", help="a new file; stdout unless said")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the bytes as they are."""
        try:
            text = text_of(version_row(options["runbook"]))
        except HawkOpsError as error:
            raise CommandError(error.message) from error
        if options["output"]:
            try:
                with Path(options["output"]).open("xb") as file:
                    file.write(text)
            except OSError as error:
                raise CommandError(f"{options['output']} can't be written: {error.strerror}.") from error
            return
        buffer = getattr(self.stdout, "buffer", None)
        if buffer is None:  # a stream of text, as callers inside Python give
            self.stdout.write(text.decode("utf-8"), ending="")
        else:
            buffer.write(text)
            buffer.flush()
