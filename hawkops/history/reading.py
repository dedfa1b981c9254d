"""Reading that is itself written down: what somebody takes out as a file, and what they look up about a person.

An entry for each page view would bury the rest: the same reader, thing and question count once in some minutes.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.domain.query import Query, Term
from hawkops.history.models import ActorName, HistoryEntry
from hawkops.history.services import change

READ = "history.read"
AGAIN_AFTER = timedelta(minutes=5)
PERSON = "person:"
# a long search says enough by its beginning
ASKED_CHARACTERS = 400


def reading_note(
    *, actor: Actor, environment: str, subject: str, what: str, asked: str = "", request_id: str = ""
) -> bool:
    """Record that `actor` read something sensitive; says whether an entry was written, or an earlier one tells it.

    `what` is in words ("the history as CSV"), `asked` the search that it answers, without names (see `nameless`).
    """
    after = {"read": what, "asked": asked[:ASKED_CHARACTERS]}
    lately = HistoryEntry.objects.filter(
        verb=READ, at__gte=clock.now() - AGAIN_AFTER, actor=actor.reference, subject=subject
    )
    if any(one.after == after for one in lately):
        return False
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        this.record(READ, subject=subject, after=after)
    return True


def looked_up(subject: str, *, actor: Actor, environment: str, request_id: str = "") -> None:
    """Record that somebody looked up what concerns another person; anything else is no secret to who may read."""
    if subject.startswith(PERSON) and subject != actor.reference:
        reading_note(
            actor=actor, environment=environment, subject=subject, what="entries of a person", request_id=request_id
        )


def nameless(query: Query) -> str:
    """Return a search with actors in place of their names: an entry's text can't be erased with a person."""
    return str(replace(query, terms=tuple(_nameless(term) for term in query.terms)))


def _nameless(term: Term) -> Term:
    if term.name not in ("", "actor"):
        return term
    values = tuple(one for value in term.values for one in (sorted(actors_named(value)) or [value]))
    return replace(term, name="actor" if values != term.values else term.name, values=values)


def actors_named(name: str) -> set[str]:
    """Return the actors that go, or went, by a name."""
    return set(ActorName.objects.filter(label__iexact=name).values_list("actor", flat=True))


def people_asked(query: Query) -> Iterator[str]:
    """Give the people (`person:5`) that a search is about: whose acts, or what was done to them."""
    for term in query.terms:
        if term.negated:
            continue
        for value in term.values:
            named = {value} if term.name in ("actor", "subject") else set()
            named |= actors_named(value) if term.name in ("", "actor") else set()
            yield from sorted(one for one in named if one.startswith(PERSON) and one != PERSON)
