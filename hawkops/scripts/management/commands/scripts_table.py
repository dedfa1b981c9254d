"""`manage.py scripts_table`: the README's table of scripts, from the catalogue."""

from typing import Any

from django.core.management.base import BaseCommand

from hawkops.scripts.listing import table


class Command(BaseCommand):
    """Print the table; a test holds the README against it."""

    help = "Print the README's table of scripts."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        self.stdout.write(table())
