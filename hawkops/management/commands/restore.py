"""`manage.py restore FILE [--data DIR]`: bring a backup back into an empty system and prove its history."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.backups.passphrases import passphrase_of
from hawkops.backups.restoring import restore
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from rollout.services.overrides import kill

ACTOR = Actor.system("restore")


class Command(BaseCommand):
    """Exit 0 when everything is back and the history verifies up to the manifest's head."""

    help = "Restore a backup into an empty system. With --data DIR and no DATABASE_URL into the embedded server there."
    # they read tables that are not there yet
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What, opened with what, and how."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="open it with this file's first line")
        parser.add_argument(
            "--killed", action="store_true", help="kill LiteRT in every environment before anything serves flags"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore, and say what is lost."""

        def say(line: str) -> None:
            self.stdout.write(f"  {line}")

        try:
            done = restore(options["file"], passphrase=passphrase_of(options["passphrase_file"]), say=say)
            if options["killed"]:
                for environment in Environment:
                    kill(environment=environment.value, actor=ACTOR, reason="Restored from a backup, as --killed wants")
        except HawkOpsError as refusal:
            raise CommandError(refusal.message) from refusal
        seq, digest = done.proven.head
        self.stdout.write(
            f"Restored in {done.seconds:.1f} s: {done.files} files, history up to entry {seq}, {digest}, all of it verifies."
        )
        jumped = ", ".join(f"{name} {number}" for name, number in done.revisions.items())
        self.stdout.write(f"Sessions are ended, and revisions go on above all that devices can have seen: {jumped}.")
        self.stdout.write(
            f"What was changed after {done.proven.made_at:%Y-%m-%d %H:%M:%S} UTC is lost, kills too. "
            + (
                "LiteRT is killed in every environment."
                if options["killed"]
                else "Look at Emergency before devices do."
            )
        )
        if not done.same_secret:
            self.stdout.write(
                "SECRET_KEY is another one than the backup's: start with the same, else sealed secrets must be entered anew."
            )
