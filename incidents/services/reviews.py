"""Writes on reviews: a draft from the timeline, and people's words. What was drawn stays as it was drawn."""

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from incidents.domain.incidents import State
from incidents.domain.review import Took, summary
from incidents.models import IncidentReview
from incidents.selectors import incidents as selectors
from incidents.selectors.reviews import facts
from incidents.services.incidents import locked, told

WORDS_MOST = 20_000


def review_draft(*, environment: str, incident_id: int, actor: Actor, request_id: str = "") -> IncidentReview:
    """Make the draft of a review, or make its facts anew and keep its words. Raises NotFound or Conflict."""
    now = clock.now()
    # read before anything is locked: it asks for many numbers
    drawn = facts(selectors.incident(environment, incident_id), now=now)
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = locked(environment, incident_id)
        if found.state != State.RESOLVED or found.merged_into_id:
            why = "it was merged" if found.merged_into_id else f"it is {found.state}"
            raise Conflict(f"A review is drafted once an incident is resolved; {why}.")
        made = IncidentReview.objects.select_for_update(no_key=True).filter(incident=found).first()
        if made is None:
            times = [Took(**one) for one in drawn["times"]]
            causes = list(found.causes.values_list("title", flat=True))
            words = summary(drawn["incident"], times, opened_by=found.opened_by, causes=causes)
            made = IncidentReview(incident=found, edition=0, summary=words)
        made.facts, made.drafted_at, made.drafted_by = drawn, now, actor.label
        made.edition += 1
        made.save()
        after = {"times": {one["key"]: one["seconds"] for one in drawn["times"]}, "charts": len(drawn["charts"])}
        told(this, found, "incident.review_drafted", after=after)
    return made


def review_save(
    *,
    environment: str,
    incident_id: int,
    summary: str,
    causes: str,
    lessons: str,
    edition: int,
    actor: Actor,
    request_id: str = "",
) -> IncidentReview:
    """Write a review's words. Raises NotFound, InvalidInput, or Conflict when somebody else wrote meanwhile."""
    words = {"summary": summary, "causes": causes, "lessons": lessons}
    words = {name: text.replace("\x00", "").strip() for name, text in words.items()}
    if too_long := [name for name, text in words.items() if len(text) > WORDS_MOST]:
        raise InvalidInput(f"{too_long[0].capitalize()} has at most {WORDS_MOST} characters.")
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = locked(environment, incident_id)
        made = IncidentReview.objects.select_for_update(no_key=True).filter(incident=found).first()
        if made is None:
            raise NotFound("There is no review yet: make its draft first.")
        if found.state == State.REVIEWED:
            raise Conflict("The review is done; its words stay as they were agreed.")
        if made.edition != edition:
            raise Conflict("Somebody else wrote meanwhile. Look at their words below, and save yours again.")
        before = {name: getattr(made, name) for name in words}
        if before == words:
            return made
        made.summary, made.causes, made.lessons = words["summary"], words["causes"], words["lessons"]
        made.edition += 1
        made.save()
        told(this, found, "incident.review_saved", before=before, after=words)
    return made
