"""Reviews: numbers computed by hand, what is frozen, words of two people at once, exports, and what holds the next phase."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.errors import Conflict, NotFound
from hawkops.history.actors import Actor
from incidents.domain.incidents import Move
from incidents.domain.review import HEIGHT, PAD, Moments, drawing, escaped, spoken, took
from incidents.models import Delivery, Incident, IncidentReview
from incidents.selectors.reviews import moments
from incidents.services import incidents as services
from incidents.services import reviews
from incidents.services.dispatching import dispatch_all
from rollout.selectors import actions
from tests.incidents.conftest import SYSTEM, MakeChannel

ANNA = Actor("person:7", "anna")
T = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
WHERE: dict[str, Any] = {"environment": "staging", "actor": ANNA}


def after(**span: float) -> datetime:
    return T + timedelta(**span)


# ---- arithmetic ----


def test_took__computed_by_hand() -> None:
    found = took(
        Moments(
            began_at=after(seconds=-95),
            opened_at=T,
            paged_at=after(seconds=12),
            acknowledged_at=after(minutes=4, seconds=30),
            killed_at=after(minutes=5),
            told_at=after(minutes=5, seconds=7),
            obeyed_95_at=after(minutes=5, seconds=41),
            obeyed_99_at=after(minutes=12),
            mitigated_at=after(minutes=14),
            resolved_at=after(hours=2, minutes=6),
        )
    )
    assert {one.key: one.seconds for one in found} == {
        "detect": 95,
        "page": 12,
        "acknowledge": 270,
        "kill": 300,
        "tell": 7,
        "obey_95": 41,
        "obey_99": 420,
        "mitigate": 840,
        "resolve": 7_560,
    }


def test_took__what_did_not_happen__has_no_number_and_what_came_before_took_nothing() -> None:
    found = {
        one.key: one.seconds for one in took(Moments(T, T, paged_at=after(seconds=-3), obeyed_95_at=after(hours=1)))
    }
    assert found["page"] == 0
    assert found["detect"] == 0
    assert {key for key, seconds in found.items() if seconds is None} == {
        "acknowledge",
        "kill",
        "tell",
        "obey_95",
        "obey_99",
        "mitigate",
        "resolve",
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (9.54, "9.5 s"),
        (3.0, "3 s"),
        (41, "41 s"),
        (292, "4 min 52 s"),
        (7_560, "2 h 6 min"),
        (3_600, "1 h"),
    ],
)
def test_spoken(seconds: float | None, words: str) -> None:
    assert spoken(seconds) == words


def test_drawing__gaps_stay_gaps_and_the_limit_is_on_the_same_scale() -> None:
    step = timedelta(minutes=10)
    found = drawing(
        [0.0, 10.0, None, 5.0],
        limit=20.0,
        since=T,
        step=step,
        marks=[(after(minutes=20), "killed"), (after(hours=9), "out of it")],
    )
    assert found is not None
    # of 640 four steps of 160 each, drawn in their middle; 20 at the top, 0 at the bottom of 108
    assert found.path == "M80.0 114.0h.5L240.0 60.0M560.0 87.0h.5"
    assert found.limit_y == PAD
    assert found.marks == ((320.0, 12, "killed"),)
    assert drawing([None], limit=1.0, since=T, step=step) is None
    flat = drawing([3.0, 3.0], limit=None, since=T, step=step)
    assert flat is not None
    assert flat.path == f"M160.0 {HEIGHT - PAD}h.5L480.0 {HEIGHT - PAD}"


def test_escaped__markup_is_text() -> None:
    assert escaped("# <b>*x*</b>\n| y") == r"\# \<b\>\*x\*\</b\> \| y"


# ---- the draft ----


def story(monkeypatch: pytest.MonkeyPatch) -> Incident:
    """An incident whose times are known to the second."""

    def at(seconds: float) -> None:
        monkeypatch.setattr(clock, "_stepped_to", after(seconds=seconds))

    at(0)
    found = services.incident_open(title="Wrong answers", severity="critical", began_at=after(seconds=-95), **WHERE)
    at(270)
    services.incident_move(incident_id=found.pk, move=Move.ACKNOWLEDGE, **WHERE)
    at(600)
    services.incident_move(incident_id=found.pk, move=Move.MITIGATE, **WHERE)
    at(3_600)
    services.incident_move(incident_id=found.pk, move=Move.RESOLVE, **WHERE)
    found.refresh_from_db()
    return found


@pytest.mark.django_db
def test_draft__numbers_by_hand__and_frozen(make: MakeChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    make("slack")
    found = story(monkeypatch)
    dispatch_all()
    Delivery.objects.filter(action="trigger").update(state="sent", done_at=after(seconds=12))
    assert moments(found).paged_at == after(seconds=12)
    made = reviews.review_draft(incident_id=found.pk, **WHERE)
    assert {one["key"]: one["seconds"] for one in made.facts["times"]} == {
        "detect": 95,
        "page": 12,
        "acknowledge": 270,
        "kill": None,
        "tell": None,
        "obey_95": None,
        "obey_99": None,
        "mitigate": 600,
        "resolve": 3_600,
    }
    assert made.summary == (
        "Wrong answers (critical) was opened by anna. It was detected after 1 min 35 s."
        " Somebody had it after 4 min 30 s. It was over after 1 h."
    )
    titles = [one["title"] for one in made.facts["timeline"]]
    assert titles[-4:] == [f"Incident {found.pk} opened: Wrong answers", "anna has it", "Mitigated", "Resolved"]
    services.incident_note(incident_id=found.pk, text="Written later", **WHERE)
    assert [one["title"] for one in IncidentReview.objects.get().facts["timeline"]] == titles


@pytest.mark.django_db
def test_draft__not_before_it_is_over__and_not_done_without_one() -> None:
    found = services.incident_open(title="Wrong answers", severity="warning", **WHERE)
    with pytest.raises(Conflict, match="it is open"):
        reviews.review_draft(incident_id=found.pk, **WHERE)
    services.incident_move(incident_id=found.pk, move=Move.RESOLVE, **WHERE)
    with pytest.raises(Conflict, match="no review yet"):
        services.incident_move(incident_id=found.pk, move=Move.REVIEW, **WHERE)
    with pytest.raises(NotFound):
        reviews.review_save(incident_id=found.pk, summary="", causes="", lessons="", edition=1, **WHERE)
    made = reviews.review_draft(incident_id=found.pk, **WHERE)
    services.incident_move(incident_id=found.pk, move=Move.REVIEW, **WHERE)
    with pytest.raises(Conflict, match="is done"):
        reviews.review_save(incident_id=found.pk, summary="x", causes="", lessons="", edition=made.edition, **WHERE)
    with pytest.raises(Conflict):
        reviews.review_draft(incident_id=found.pk, **WHERE)


@pytest.mark.django_db
def test_page__two_write_at_once__the_second_sees_both(operator: Any, client_as: Any) -> None:
    found = services.incident_open(title="Wrong answers", severity="warning", **WHERE)
    services.incident_move(incident_id=found.pk, move=Move.RESOLVE, **WHERE)
    client: Client = client_as(operator)
    path = f"/staging/incidents/{found.pk}/review"
    assert "Make the draft" in client.get(path).content.decode()
    client.post(f"{path}/draft")
    mine = {"summary": "Mine", "causes": "A driver", "lessons": "", "edition": "1"}
    assert client.post(f"{path}/save", mine).status_code == 303
    theirs = client.post(f"{path}/save", {**mine, "summary": "Theirs"})
    page = theirs.content.decode()
    assert theirs.status_code == 422
    assert "Somebody else wrote meanwhile" in page
    assert ">Theirs</textarea>" in page
    assert "<p>Mine</p>" in page
    assert IncidentReview.objects.get().summary == "Mine"


@pytest.mark.django_db
def test_exports__hold_all_of_it_and_escape_it(operator: Any, client_as: Any) -> None:
    found = services.incident_open(title="<b>Wrong</b> *answers*", severity="warning", **WHERE)
    services.incident_move(incident_id=found.pk, move=Move.RESOLVE, **WHERE)
    client: Client = client_as(operator)
    assert client.get(f"/staging/incidents/{found.pk}/review.md").status_code == 404
    made = reviews.review_draft(incident_id=found.pk, **WHERE)
    made.facts["charts"] = [
        {
            "title": "Latency",
            "says": "p95",
            "measured": "between 1 s and 7 s",
            "limit": 5.0,
            "limit_said": "5 s",
            "points": [1.0, None, 7.0],
            "since": found.opened_at.isoformat(),
            "step_seconds": 600.0,
        }
    ]
    made.save()
    services.incident_task_add(incident_id=found.pk, title="Pin drivers", owner="operator", blocks=True, **WHERE)
    page = client.get(f"/staging/incidents/{found.pk}/review").content.decode()
    assert 'class="ln" d="M106.7' in page
    assert " style=" not in page.partition("<main")[2]
    html = client.get(f"/staging/incidents/{found.pk}/review.html")
    text = html.content.decode()
    assert html["Content-Disposition"].startswith('attachment; filename="review-staging-')
    assert "&lt;b&gt;Wrong&lt;/b&gt;" in text
    assert "Pin drivers, operator" in text
    assert '<path class="ln"' in text
    assert "<script" not in text
    plain = client.get(f"/staging/incidents/{found.pk}/review.md").content.decode()
    assert rf"# Review of incident {found.pk}: \<b\>Wrong\</b\> \*answers\*" in plain
    assert r"- [ ] Pin drivers, operator" in plain
    assert "- Latency: between 1 s and 7 s, limit 5 s" in plain


@pytest.mark.django_db
def test_action_items__hold_the_next_phase_until_they_are_done(operator: Any) -> None:
    found = services.incident_open(title="Wrong answers", severity="warning", **WHERE)
    assert actions.need("staging") is None
    services.incident_task_add(incident_id=found.pk, title="Look", owner="operator", **WHERE)
    assert actions.need("staging") is None, "a task of the incident itself holds nothing"
    task = services.incident_task_add(incident_id=found.pk, title="Pin drivers", owner="operator", blocks=True, **WHERE)
    need = actions.need("staging")
    assert need is not None
    assert (need.met, need.have) == (False, "1 open")
    assert need.sentence == "Not done after a review: Pin drivers (operator)."
    assert actions.need("demo") is None
    services.incident_task_set(task_id=task.pk, done=True, environment="staging", actor=SYSTEM)
    assert actions.need("staging") is None
