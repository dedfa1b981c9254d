"""`manage.py second_factor_reset NAME --reason …`: for somebody who has lost app, passkeys and recovery codes."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.accounts.models import User
from hawkops.accounts.services.factors import second_factor_reset
from hawkops.accounts.services.sessions import sessions_end
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor


class Command(BaseCommand):
    """Remove the factors and end the sessions; the history says so, with the reason."""

    help = "Remove all second factors of a person and end their sessions; the history keeps who it was and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The person's name, and why."""
        parser.add_argument("username")
        parser.add_argument("--reason", default="", help="why; it stands in the history")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what was removed, and what opens the account now."""
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no person named {options['username']}.")
        actor = Actor.system("second_factor_reset")
        try:
            removed = second_factor_reset(user=user, actor=actor, reason=options["reason"])
        except HawkOpsError as refusal:
            raise CommandError(refusal.message) from refusal
        ended = sessions_end(user=user, actor=actor, reason=options["reason"])
        self.stdout.write(
            f"{removed} factors of {user.username} are removed, {ended} sessions have ended. "
            "A password or a login link alone signs them in until they add a factor under their name."
        )
