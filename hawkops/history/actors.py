"""Who did it: a person, a device key, an API token, a rule that acted, or the system itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class _HasPk(Protocol):
    pk: int


def person_reference(user: object) -> str:
    """Return what an entry calls a person, in its subject as in its states: names can be erased, entries can't."""
    return f"person:{user.pk}"  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Actor:
    """An actor's reference goes into the hash; the label (a username, say) stands apart and can be erased."""

    reference: str
    label: str

    @classmethod
    def person(cls, user: object) -> Actor:
        """The signed-in user."""
        return cls(person_reference(user), user.get_username())  # type: ignore[attr-defined]

    @classmethod
    def phone(cls, user: object, name: str) -> Actor:
        """The person, without a session, by a phone that was enrolled."""
        person = cls.person(user)
        return cls(person.reference, f"{person.label[:90]}, by enrolled phone {name}")

    @classmethod
    def rule(cls, name: str) -> Actor:
        """A rule or schedule that acted by itself."""
        return cls(f"rule:{name}", name)

    @classmethod
    def key(cls, key: object) -> Actor:
        """A device key."""
        return cls(f"key:{key.pk}", key.name)  # type: ignore[attr-defined]

    @classmethod
    def token(cls, token: object) -> Actor:
        """An API token: a pipeline, say."""
        return cls(f"token:{token.pk}", token.name)  # type: ignore[attr-defined]

    @classmethod
    def system(cls, name: str) -> Actor:
        """A command run on the host."""
        return cls(f"system:{name}", name)
