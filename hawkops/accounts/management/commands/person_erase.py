"""`manage.py person_erase NAME --reason`: forget one person for good, and say what remains."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.accounts.models import User
from hawkops.accounts.services.erasing import person_erase
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor


class Command(BaseCommand):
    """Erase by the host's word; the people page has the same for administrators."""

    help = "Forget one person: ways in, sessions, phones, addresses, and the name everywhere it can be taken from."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who, and why."""
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="the request's number, say, without the name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase, and say what went and what remains."""
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no person named {options['username']}.")
        try:
            found = person_erase(user=user, reason=options["reason"], actor=Actor.system("person_erase"))
        except HawkOpsError as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(f"{found.named.name} is {found.named.reference} from now on.")
        for what, many in found.rows.items():
            self.stdout.write(f"  {many} {what}")
        for sentence in found.remains:
            self.stdout.write(sentence)
