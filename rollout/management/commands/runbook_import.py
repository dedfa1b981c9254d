"""`manage.py runbook_import FILE --by PERSON`: a new draft of the runbook, or a draft's next text."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hawkops.accounts.models import User
from hawkops.core.errors import HawkOpsError
from hawkops.core.located import LARGEST_BYTES
from hawkops.history.actors import Actor
from rollout.services.runbooks import NEW, version_import


class Command(BaseCommand):
    """The person named is its maker and can't approve it; adoption takes place in the browser."""

    help = "Import a version of the runbook from YAML as a draft, in a person's name."

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, who stands for it, and which text it edits."""
        parser.add_argument("file")
        parser.add_argument("--by", required=True, metavar="PERSON", help="username of who made it")
        parser.add_argument(
            "--edits", default=NEW, metavar="DIGEST", help="SHA-256 of the draft's text that was edited, as exported"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Read at most what is accepted, import it, and say what comes next."""
        path = Path(options["file"])
        person = User.objects.filter(username=options["by"], is_active=True).first()
        if person is None:
            raise CommandError(f"There is no active person named {options['by']}.")
        try:
            with path.open("rb") as file:
                text = file.read(LARGEST_BYTES + 1)
        except OSError as error:
            raise CommandError(f"{path} can't be read: {error.strerror}.") from error
        try:
            found = version_import(
                text=text, name=path.name, expected_digest=options["edits"], actor=Actor.person(person)
            )
        except HawkOpsError as error:
            raise CommandError(error.message) from error
        self.stdout.write(
            f"Runbook {found.version} is a draft, digest {found.digest}. "
            "It takes the approval of engineering, security and devops."
        )
