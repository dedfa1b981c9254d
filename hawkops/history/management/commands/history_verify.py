"""`manage.py history_verify`: walk the chain, name the first bad entry."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hawkops.history.services import history_verify
from hawkops.history.witnessed import Folder


class Command(BaseCommand):
    """Exit 0 when every entry follows from the one before it."""

    help = "Verify the change history's hash chain and name the first bad entry."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whom to believe."""
        parser.add_argument("--witness", type=Path, metavar="FOLDER", help="a witness's folder (WITNESS_DIR)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verifier over the whole chain."""
        folder = Folder(options["witness"]) if options["witness"] else None
        result = history_verify(requested_by="history_verify", witness=folder)
        if not result.good:
            raise CommandError(f"Entry {result.bad_seq}: {result.why}.")
        self.stdout.write(
            f"All {result.head_seq} entries verify, head {result.head_hash[:16]}, in {result.seconds:.2f} s. "
            f"{result.limit}"
        )
