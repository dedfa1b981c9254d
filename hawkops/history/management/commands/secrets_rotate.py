"""`manage.py secrets_rotate`: seal every stored secret under the present SECRET_KEY."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.history.actors import Actor
from hawkops.history.sealed import secrets_reseal


class Command(BaseCommand):
    """Exit 0 when the earlier keys are needed no more, 1 when something can't be opened by any key."""

    help = (
        "Seal stored secrets anew after SECRET_KEY has changed; the old key stands in SECRET_KEY_FALLBACKS meanwhile."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seal all of them, and say what could not be."""
        found = secrets_reseal(actor=Actor.system("secrets_rotate"))
        self.stdout.write(f"{found.anew} sealed anew, {found.already} were so already.")
        if found.lost:
            raise CommandError(
                f"No key opens {', '.join(found.lost)}: put the key they were sealed with into SECRET_KEY_FALLBACKS, "
                "or enter these secrets anew."
            )
        self.stdout.write("SECRET_KEY_FALLBACKS can go, as soon as sessions and links of the old key have ended.")
