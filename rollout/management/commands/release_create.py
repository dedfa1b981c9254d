"""`manage.py release_create ENVIRONMENT …`: begin a release from a pipeline that runs on this host."""

import getpass
from argparse import ArgumentParser
from hashlib import file_digest
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, HawkOpsError
from hawkops.history.actors import Actor
from rollout.api.releases import release_out
from rollout.services.releases import BACKENDS, release_create


class Command(BaseCommand):
    """Exit 0 when the release begins, 1 when another one is under way, 2 when what was given is unfit."""

    help = "Begin a release. Exit 0: it begins, 1: another one is under way, 2: what was given is unfit."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What the release is; the model's digest is given, or taken from its file."""
        parser.add_argument("environment", choices=[one.value for one in Environment])
        parser.add_argument("--name", required=True)
        parser.add_argument("--app-version", required=True)
        parser.add_argument("--version-code", required=True, help="as in the app's manifest")
        parser.add_argument("--model-name", required=True)
        model = parser.add_mutually_exclusive_group(required=True)
        model.add_argument("--model-digest", help="SHA-256 of the model")
        model.add_argument("--model-file", metavar="FILE", help="the model, whose SHA-256 is taken")
        parser.add_argument("--backends", nargs="+", required=True, choices=BACKENDS)
        parser.add_argument("--supersede", action="store_true", help="end the release that is under way")
        parser.add_argument("--reason", default="")
        parser.add_argument("--json", action="store_true", help="print the release as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Begin it and say so."""
        try:
            made = release_create(
                environment=options["environment"],
                name=options["name"],
                app_version=options["app_version"],
                version_code=options["version_code"],
                model_name=options["model_name"],
                model_digest=options["model_digest"] or _digest(options["model_file"]),
                backends=options["backends"],
                supersede=options["supersede"],
                reason=options["reason"],
                actor=Actor("system:release_create", getpass.getuser()),
            )
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=1 if isinstance(error, Conflict) else 2) from error
        if options["json"]:
            self.stdout.write(release_out(made).model_dump_json(indent=1))
        else:
            self.stdout.write(
                f"{made.name} {made.app_version} begins its walk in {made.environment}: release {made.pk},"
                f" runbook {made.runbook.version}."
            )


def _digest(file: str) -> str:
    try:
        with Path(file).open("rb") as model:
            return file_digest(model, "sha256").hexdigest()
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.", returncode=2) from error
