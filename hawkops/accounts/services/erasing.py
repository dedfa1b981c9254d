"""Erasing a person: the ways in, what is kept of them, and their name everywhere. The history's proof stays whole."""

from dataclasses import dataclass

from django.contrib.sessions.models import Session
from django.db.models import CASCADE

from hawkops.accounts.models import ApiToken, KeyedAnswer, RoleGrant, User
from hawkops.accounts.services.holds import hold_of
from hawkops.core.access import Role
from hawkops.core.erasure import Named, mentions, person_erasers, unsigned
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed
from hawkops.history.actors import Actor
from hawkops.history.erasing import entries_naming
from hawkops.history.services import change

REASON_MOST = 300
# of the entries that say the name in what was hashed, so many are named one by one
NAMED_MOST = 50


@dataclass(frozen=True)
class Erased:
    """What went, and what of the name remains: in which columns, in how many rows, in which entries."""

    named: Named
    rows: dict[str, int]
    columns: dict[str, int]
    entries: list[int]
    tokens: int

    @property
    def remains(self) -> list[str]:
        """What remains and why, a sentence each."""
        said = [
            f"The history's entries stay whole: verb, time and {self.named.reference} are the proof of who changed what "
            "(GDPR Art. 17(3)(b) and (e)). Of the name they hold a salted commitment, which proves nothing by itself."
        ]
        if self.entries:
            named = ", ".join(str(seq) for seq in self.entries[:NAMED_MOST])
            more = f" and {len(self.entries) - NAMED_MOST} more" if len(self.entries) > NAMED_MOST else ""
            said.append(
                f"{len(self.entries)} entries say it in words that were hashed, which can't be taken back: {named}{more}."
            )
        said += [
            f"{column} holds it as a word in {rows} row{'s' if rows > 1 else ''}: people wrote it, or it means another."
            for column, rows in self.columns.items()
        ]
        if self.tokens:
            said.append(f"{self.tokens} API tokens that they made go on; revoke them if nobody else answers for them.")
        said.append("Backups and exports made before today still hold it, until they are deleted.")
        return said


def person_erase(*, user: User, reason: str, actor: Actor, request_id: str = "") -> Erased:
    """Forget a person for good. Raises InvalidInput without a reason, NotAllowed for oneself, Conflict.

    Their row stays without a word of them, since others' rows point to it; its name is `person:ID` from now on.
    """
    reason = " ".join(reason.replace("\x00", "").split())[:REASON_MOST]
    if not reason:
        raise InvalidInput("Say why they are forgotten: a request, say, with its number, and without their name.")
    with change(actor=actor, reason=reason, request_id=request_id) as this:
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        named = Named(locked.pk, locked.username)
        _may_go(named, reason, actor)
        if (held := hold_of(locked)) is not None:
            raise Conflict(
                f"A legal hold stands since {held.at:%d %b %Y}, by {held.by}: {held.reason}. Nothing is erased."
            )
        rows = {
            "sessions": _sessions_end(named.pk),
            "kept answers": KeyedAnswer.objects.filter(caller=named.reference).delete()[0],
            **_own_rows(locked),
            **{what: erase(named) for what, erase in person_erasers().items()},
            "rows that said the name": unsigned(named),
        }
        locked.username, locked.email, locked.first_name, locked.last_name = named.reference, "", "", ""
        locked.is_active, locked.last_login = False, None
        locked.set_unusable_password()
        locked.save()
        found = Erased(
            named=named,
            rows={what: many for what, many in rows.items() if many},
            columns=dict(mentions(named)),
            entries=entries_naming(named),
            tokens=sum(token.live for token in ApiToken.objects.filter(created_by=locked)),
        )
        this.record(
            "person.erased",
            subject=named.reference,
            after={"rows": found.rows, "remains": {"columns": found.columns, "entries": len(found.entries)}},
        )
    return found


def _may_go(named: Named, reason: str, actor: Actor) -> None:
    if named.name == named.reference:
        raise Conflict(f"{named.reference} is erased already.")
    if actor.reference == named.reference:
        raise NotAllowed("Another administrator must erase you: nobody answers for what they can't sign in to see.")
    if named.mentioned(reason):
        raise InvalidInput(
            "The reason stands in the history for good, so it must not hold the name. Write their number."
        )
    chiefs = RoleGrant.objects.filter(role=Role.ADMIN.value, environment="", user__is_active=True)
    if chiefs.exists() and not chiefs.exclude(user_id=named.pk).exists():
        raise Conflict("Somebody must stay administrator of all environments. Grant it to another person first.")


def _sessions_end(pk: int) -> int:
    theirs = [
        one.pk for one in Session.objects.iterator() if str(one.get_decoded().get("_auth_user_id", "")) == str(pk)
    ]
    return Session.objects.filter(pk__in=theirs).delete()[0]


def _own_rows(user: User) -> dict[str, int]:
    """Delete what would go with the person's row: roles, teams, links, phones, and whatever they prove themselves by."""
    gone: dict[str, int] = {}
    for relation in User._meta.related_objects:
        if relation.on_delete is CASCADE and relation.field.concrete:
            model = relation.related_model
            rows = model._base_manager.filter(**{relation.field.name: user}).delete()[0]
            gone[str(model._meta.verbose_name_plural)] = gone.get(str(model._meta.verbose_name_plural), 0) + rows
    return gone
