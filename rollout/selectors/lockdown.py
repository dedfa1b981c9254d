"""Reading lockdowns: the one that stands, the newest, and those whose consequences may still be missing."""

from datetime import datetime

from rollout.models import Lockdown

__all__ = ["Lockdown", "lockdown", "lockdowns_since", "newest", "standing"]


def standing(environment: str) -> Lockdown | None:
    """Return the lockdown that stands; None without one. One query."""
    return Lockdown.objects.filter(environment=environment, lifted_at=None).first()


def newest(environment: str) -> Lockdown | None:
    """Return the newest lockdown, lifted or not; None where there never was one. One query."""
    return Lockdown.objects.filter(environment=environment).first()


def lockdowns_since(moment: datetime) -> list[Lockdown]:
    """Return the lockdowns of every environment that began since then, oldest first. One query."""
    return list(Lockdown.objects.filter(at__gte=moment).order_by("pk"))


def lockdown(pk: int) -> Lockdown | None:
    """Return a lockdown; None where there is none of that number. One query."""
    return Lockdown.objects.filter(pk=pk).first()
