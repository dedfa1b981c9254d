"""`manage.py break_glass_create`: a code for the night when nobody can sign in, printed once."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.accounts.services.break_glass import break_glass_create
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor


class Command(BaseCommand):
    """Print the code; only its hash is kept. Exit 0 when it is made, 2 when two are sealed already."""

    help = (
        "Make a break-glass code and print it. Print it on paper, seal it, keep it where two people must go together."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it."""
        try:
            _, code = break_glass_create(actor=Actor.system(f"break_glass by {getpass.getuser()}"[:70]))
        except HawkOpsError as refusal:
            raise CommandError(refusal.message, returncode=2) from refusal
        self.stdout.write(code)
