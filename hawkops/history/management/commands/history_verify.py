"""`manage.py history_verify`: walk the chain, name the first bad entry."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.history.services import history_verify


class Command(BaseCommand):
    """Exit 0 when every entry follows from the one before it."""

    help = "Verify the change history's hash chain and name the first bad entry."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verifier over the whole chain."""
        result = history_verify(requested_by="history_verify")
        if not result.good:
            raise CommandError(f"Entry {result.bad_seq}: {result.why}.")
        self.stdout.write(
            f"All {result.head_seq} entries verify, head {result.head_hash[:16]}, in {result.seconds:.2f} s."
        )
