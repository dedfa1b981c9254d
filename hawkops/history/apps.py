"""The history as a Django app."""

from django.apps import AppConfig


class HistoryConfig(AppConfig):
    """The change history."""

    name = "hawkops.history"
    label = "history"

    def ready(self) -> None:
        """Say what is kept of a person."""
        from hawkops.core.erasure import person_apart, person_register, person_signed
        from hawkops.history.erasing import APART, SIGNED, names_forget  # needs the models

        person_register("entries' names", names_forget)
        person_signed(*SIGNED)
        person_apart(*APART)
