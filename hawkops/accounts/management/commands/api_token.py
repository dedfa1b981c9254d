"""`manage.py api_token ENVIRONMENT NAME --scopes …`: a token for a program, printed once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.accounts.services.credentials import TOKEN_LIFETIME, TOKEN_LIFETIME_MOST, api_token_create
from hawkops.core.access import Scope
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor

ALL = "all"


class Command(BaseCommand):
    """Print the token; only its hash is kept. Exit 0 when it is made, 2 when what was asked for is refused."""

    help = "Create an API token and print it. Only its hash is kept, so it can't be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where it counts, what it is for, what it may do and for how long."""
        parser.add_argument("environment", choices=[*(e.value for e in Environment), ALL])
        parser.add_argument("name")
        parser.add_argument("--scopes", nargs="+", required=True, choices=[scope.value for scope in Scope])
        parser.add_argument(
            "--days", type=int, default=TOKEN_LIFETIME.days, help=f"until it ends, at most {TOKEN_LIFETIME_MOST.days}"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the token."""
        where = options["environment"]
        try:
            _, secret = api_token_create(
                environment="" if where == ALL else where,
                name=options["name"],
                scopes=[Scope(scope) for scope in options["scopes"]],
                lifetime=timedelta(days=min(options["days"], TOKEN_LIFETIME_MOST.days + 1)),
                actor=Actor.system("api_token"),
            )
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error
        self.stdout.write(secret)
