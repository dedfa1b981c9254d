"""Sealing every stored secret anew, after SECRET_KEY has changed."""

from dataclasses import dataclass, field

from hawkops.core.sealing import Unsealable, resealed_columns, sealed_columns
from hawkops.history.actors import Actor
from hawkops.history.services import change


@dataclass
class Rotation:
    """How many rows were sealed anew, how many were so already, and which nothing opens any more."""

    anew: int = 0
    already: int = 0
    lost: list[str] = field(default_factory=list)


def secrets_reseal(*, actor: Actor) -> Rotation:
    """Seal what is stored under an earlier key under the present one. Safe to repeat and to break off: a row at a time."""
    found = Rotation()
    for model, names in sealed_columns():
        for key in list(model._default_manager.values_list("pk", flat=True).order_by("pk")):
            with change(actor=actor) as this:
                row = model._default_manager.select_for_update(no_key=True).filter(pk=key).first()
                if row is None:
                    continue
                subject = f"{model._meta.model_name}:{key}"
                try:
                    fresh = resealed_columns(row, names)
                except Unsealable:
                    found.lost.append(subject)
                    continue
                if all(getattr(row, name) == value for name, value in fresh.items()):
                    found.already += 1
                    continue
                model._default_manager.filter(pk=key).update(**fresh)
                this.record("secret.resealed", subject=subject, after={"columns": names})
                found.anew += 1
    return found
