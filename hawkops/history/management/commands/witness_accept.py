"""`manage.py witness_accept --reason …`: the history was restored to an earlier point; the witness goes on from there."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.witnessed import Folder
from hawkops.history.witnessing import fork_accept


class Command(BaseCommand):
    """Exit 0 when it was accepted, 1 when nothing was amiss."""

    help = (
        "Let the witness go on from where it and the history last agree; what it saw beyond that is kept under forks/."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Why."""
        parser.add_argument("--reason", required=True, help="what happened, for the history")

    def handle(self, *args: Any, **options: Any) -> None:
        """Accept, and say what is lost."""
        folder = Folder(settings.WITNESS_DIR)
        try:
            agreed, lost = fork_accept(folder, actor=Actor.system("witness_accept"), reason=options["reason"])
        except (HawkOpsError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"They agree up to entry {agreed}; {lost} witnessed entries after it are gone, kept in forks/."
        )
