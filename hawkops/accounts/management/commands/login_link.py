"""`manage.py login_link NAME`: a one-time link for somebody who can't sign in otherwise."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hawkops.accounts.models import User
from hawkops.accounts.services.signing import login_link_create
from hawkops.history.actors import Actor


class Command(BaseCommand):
    """Print the whole address."""

    help = "Print a link that signs one person in once, within an hour."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The person's name."""
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the link."""
        user = User.objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            names = ", ".join(User.objects.filter(is_active=True).values_list("username", flat=True)[:20])
            raise CommandError(f"There is no active person named {options['username']}. There are: {names or 'none'}.")
        path = login_link_create(user=user, actor=Actor.system("login_link"))
        self.stdout.write(f"{settings.CONSOLE_URL}{path}")
