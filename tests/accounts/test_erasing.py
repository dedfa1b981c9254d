"""Erasing a person: nobody signs in as them, their name is gone wherever it can go, and the history proves itself."""

import io
from datetime import timedelta

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import models
from django.test import Client

from hawkops.accounts.lockout import FREE_FOR_NAME, try_begin, try_failed
from hawkops.accounts.models import EnrolledPhone, LegalHold, LoginLink, RoleGrant, User
from hawkops.accounts.services.credentials import api_token_create
from hawkops.accounts.services.erasing import person_erase
from hawkops.accounts.services.holds import hold_lift, hold_set
from hawkops.accounts.services.people import person_create
from hawkops.accounts.services.phones import phone_enrol
from hawkops.accounts.services.signing import login_link_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.erasure import Named, mentions, signed_columns
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import ActorName, HistoryEntry, Personal
from hawkops.history.services import change, history_verify
from incidents.domain.routing import Topic
from incidents.models import Channel, Contact, IncidentNote, IncidentTask
from incidents.services import oncall
from incidents.services.channels import Rules, channel_create
from incidents.services.incidents import incident_note, incident_open, incident_role_set, incident_task_add
from monitoring.domain.criteria import Severity
from monitoring.services.silences import silence_create
from rollout.models import Flag, FreezeWindow, Waiver
from rollout.services.flags import flags_seed
from rollout.services.freezes import freeze_make
from rollout.services.overrides import flag_override_set

SYSTEM = Actor.system("test")
pytestmark = pytest.mark.django_db

# columns whose names look like these say who did something
WHO = {"by", "owner", "who"}
# and these hold no name of a person
NO_NAMES = {
    "accounts.BreakGlassCode.made_by": "a reference",
    "monitoring.Alert.inhibited_by": "an alert's key",
    "rollout.Evidence.by": "what measures it",
}


@pytest.fixture
def chief() -> User:
    return person_create(username="chief", actor=SYSTEM, roles=[Role.ADMIN])


@pytest.fixture
def mia(chief: User) -> User:
    return person_create(username="mia", email="mia@example.com", actor=Actor.person(chief), roles=[Role.OPERATOR])


@pytest.fixture
def traces(mia: User) -> None:
    """What a person leaves behind in each app."""
    actor, now = Actor.person(mia), clock.now()
    flags_seed(actor=SYSTEM)
    phone_enrol(user=mia, environment="demo", name="Pixel", actor=actor)
    login_link_create(user=mia, actor=SYSTEM)
    api_token_create(
        environment="demo",
        name="pipeline",
        scopes=[Scope.READ],
        lifetime=timedelta(days=1),
        actor=actor,
        created_by=mia,
    )
    rules = Rules(topics=[*Topic], severities=[*Severity])
    channel_create(
        environment="demo", name="mine", kind="email", address="mia@example.com", rules=rules, actor=actor, person=mia
    )
    oncall.oncall_seed(actor=SYSTEM)
    oncall.contact_save(role="devops", primary="+49 151 1234567", secondary="", emergency="", person=mia, actor=actor)
    oncall.link_create(environment="demo", person=mia, own=True, actor=actor)
    opened = incident_open(environment="demo", title="Crash loop", severity="warning", actor=actor)
    incident_note(environment="demo", incident_id=opened.pk, text="mia looked at it", actor=actor)
    incident_task_add(environment="demo", incident_id=opened.pk, title="Find out", owner="mia", actor=actor)
    incident_role_set(environment="demo", incident_id=opened.pk, role="commander", username="mia", actor=actor)
    silence_create(environment="demo", pattern="alert-*", span=timedelta(hours=1), actor=actor, reason="upgrade")
    freeze_make(environment="demo", starts_at=now, ends_at=now + timedelta(hours=1), actor=actor, reason="holiday")
    flag_override_set(environment="demo", key="litert_enabled", variant="off", actor=actor, reason="crash")


@pytest.mark.usefixtures("traces")
def test_person__erased__is_named_nowhere_but_in_what_people_wrote(mia: User, chief: User) -> None:
    for _ in range(FREE_FOR_NAME):
        try_begin(name="mia", address="192.0.2.7")
        try_failed(name="mia", address="192.0.2.7")
    browser = Client()
    browser.force_login(mia)
    assert browser.get("/demo/people").status_code == 200

    found = person_erase(user=mia, reason="Request 12", actor=Actor.person(chief))

    assert browser.get("/demo/people").status_code == 302
    left = User.objects.get(pk=mia.pk)
    assert (left.username, left.email, left.is_active) == (f"person:{mia.pk}", "", False)
    assert not left.has_usable_password()
    for model in (EnrolledPhone, LoginLink, RoleGrant):
        assert not model._default_manager.filter(user=left).exists()
    channel = Channel.objects.get(person=left)
    assert (channel.address, channel.hint, channel.archived_at is not None) == ("", "", True)
    assert Contact.objects.get(pk="devops").primary == ""
    assert FreezeWindow.objects.get().by == IncidentNote.objects.get().by == left.username
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_by == left.username
    assert IncidentTask.objects.get().owner == left
    # what somebody wrote is said, not altered
    assert found.columns == {"incidents.IncidentNote.text": 1} == dict(mentions(Named(mia.pk, "mia")))
    assert found.tokens == 1
    assert not Personal.objects.filter(label__contains="mia").exists()
    assert not Personal.objects.filter(label__contains="192.0.2.7").exists()
    assert not ActorName.objects.filter(label__contains="mia").exists()
    said = HistoryEntry.objects.filter(verb="person.erased").get()
    assert said.subject == left.username and said.after["rows"]["entries' names"] > 5
    assert history_verify(requested_by="test").good
    assert HistoryEntry.objects.filter(actor=left.username).first().actor_label == left.username  # type: ignore[union-attr]


@pytest.mark.usefixtures("traces")
def test_entries__written_of_a_person__hold_the_reference_and_no_name(mia: User, chief: User) -> None:
    noted = HistoryEntry.objects.get(verb="incident.noted").seq
    found = person_erase(user=mia, reason="Request 12", actor=Actor.person(chief))
    assert found.entries == [noted]  # what somebody wrote into the timeline
    given = HistoryEntry.objects.get(verb="incident.role_set").after
    assert given["person"] == f"person:{mia.pk}"


def test_person__erased_by_themselves_or_named_in_the_reason__is_refused(mia: User, chief: User) -> None:
    with pytest.raises(NotAllowed, match="Another administrator"):
        person_erase(user=mia, reason="Request 12", actor=Actor.person(mia))
    with pytest.raises(InvalidInput, match="must not hold the name"):
        person_erase(user=mia, reason="mia asked", actor=Actor.person(chief))
    with pytest.raises(InvalidInput, match="Say why"):
        person_erase(user=mia, reason=" ", actor=Actor.person(chief))
    with pytest.raises(Conflict, match="Somebody must stay administrator"):
        person_erase(user=chief, reason="Request 12", actor=SYSTEM)
    assert User.objects.get(username="mia").is_active
    assert not HistoryEntry.objects.filter(verb="person.erased").exists()


def test_hold__stops_the_erasure__until_somebody_else_lifts_it(mia: User, chief: User) -> None:
    actor = Actor.person(chief)
    with pytest.raises(InvalidInput, match="Say why"):
        hold_set(user=mia, reason="", actor=actor)
    hold_set(user=mia, reason="Case 7", actor=actor)
    with pytest.raises(Conflict, match="chief holds it already: Case 7"):
        hold_set(user=mia, reason="Case 8", actor=SYSTEM)
    with pytest.raises(Conflict, match="A legal hold stands"):
        person_erase(user=mia, reason="Request 12", actor=actor)
    with pytest.raises(NotAllowed, match="another administrator"):
        hold_lift(user=mia, reason="Case 7 is closed", actor=actor)
    assert User.objects.filter(username="mia").exists()
    hold_lift(user=mia, reason="Case 7 is closed", actor=SYSTEM)
    with pytest.raises(NotFound, match="Nothing holds"):
        hold_lift(user=mia, reason="again", actor=SYSTEM)
    person_erase(user=mia, reason="Request 12", actor=actor)
    verbs = HistoryEntry.objects.filter(subject=f"person:{mia.pk}").order_by("-seq").values_list("verb", flat=True)
    assert list(verbs[:3]) == ["person.erased", "hold.lifted", "hold.set"]


def test_hold__on_the_page__is_set_by_one_and_lifted_by_another(mia: User, chief: User) -> None:
    first, second = Client(), Client()
    first.force_login(chief)
    second.force_login(person_create(username="deputy", actor=SYSTEM, roles=[Role.ADMIN]))
    path = f"/demo/people/{mia.pk}"
    first.post(f"{path}/hold", {"hold_reason": "Case 7"})
    page = first.get(f"{path}/erase").content
    assert b"by chief: Case 7" in page and b"Erase for good" not in page
    assert first.post(f"{path}/erase/press", {"reason": "Request 12", "name": "mia"}).status_code == 422
    first.post(f"{path}/hold/lift", {"hold_reason": "closed"})
    assert LegalHold.objects.get().lifted_at is None
    second.post(f"{path}/hold/lift", {"hold_reason": "closed"})
    assert b"Erase for good" in first.get(f"{path}/erase").content


def test_command__says_what_went_and_what_remains(mia: User) -> None:
    with change(actor=Actor.person(mia), reason="as mia said") as this:
        this.record("test.done", subject="test:1")
    said = io.StringIO()
    call_command("person_erase", "mia", reason="Request 12", stdout=said)
    assert f"mia is person:{mia.pk} from now on" in said.getvalue()
    assert f"can't be taken back: {this.entries[0].seq}." in said.getvalue()
    with pytest.raises(CommandError, match="no person named mia"):
        call_command("person_erase", "mia", reason="Request 12")
    with pytest.raises(CommandError, match="erased already"):
        call_command("person_erase", f"person:{mia.pk}", reason="Request 12")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("mia", "person:7"),
        ("mia, by enrolled phone Mia's Pixel", "person:7"),
        ("ben, mia", "ben, person:7"),
        ("mia (on-call)", "person:7 (on-call)"),
        ("mia.k", "mia.k"),
        ("miabot", "miabot"),
        ("mia-2", "mia-2"),
        ("done by mia.", "done by person:7."),
    ],
)
def test_name__as_a_word_of_its_own__is_replaced(text: str, after: str) -> None:
    assert Named(7, "mia").renamed(text) == after


def test_columns__that_say_who__are_all_known_to_the_erasure() -> None:
    known = {f"{label}.{column}" for label, one in signed_columns().items() for column in one.columns}
    held = set()
    for model in apps.get_models():
        if model.__module__.split(".")[0] not in ("hawkops", "monitoring", "rollout", "incidents"):
            continue
        for field in model._meta.concrete_fields:
            if isinstance(field, models.CharField | models.TextField) and WHO & {*field.name.split("_")}:
                held.add(f"{model._meta.label}.{field.name}")
    assert known - held == set()
    assert held - known - NO_NAMES.keys() == set()


def test_person__pressed_away_by_an_administrator__is_told_what_remains(mia: User, chief: User) -> None:
    browser = Client()
    browser.force_login(chief)
    path = f"/demo/people/{mia.pk}/erase"
    assert b"can't be undone" in browser.get(path).content
    wrong = browser.post(f"{path}/press", {"reason": "Request 12", "name": "ben"})
    assert wrong.status_code == 422 and User.objects.filter(username="mia").exists()
    done = browser.post(f"{path}/press", {"reason": "Request 12", "name": "mia"})
    assert done.status_code == 200 and b"What remains" in done.content
    assert not User.objects.filter(username="mia").exists()
    assert b"mia" not in browser.get("/demo/people").content
    assert Waiver.objects.count() == 0
