"""The access review, roles through time, and who approved what, as pages and files."""

import csv
from collections.abc import Callable
from io import StringIO

import pytest
from django.test import Client

from hawkops.accounts.models import RoleGrant
from hawkops.accounts.services.credentials import api_token_create, device_key_create
from hawkops.accounts.services.people import person_create, roles_set
from hawkops.compliance import access
from hawkops.compliance.reviewing import access_reviewed
from hawkops.core.access import Role, Scope
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from tests.rollout.walking import SYSTEM, somebody

pytestmark = pytest.mark.django_db
As = Callable[..., Client]


def rows(client: Client, address: str) -> list[dict[str, str]]:
    """Read a file of the console."""
    response = client.get(address)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(response.content.decode())))


def test_review__shows_what_is_held_and_who_gave_it__and_what_nobody_gave() -> None:
    mia = somebody("mia", Role.APPROVER, teams=(Team.SECURITY,))
    RoleGrant.objects.create(user=mia, role=Role.ADMIN.value, environment="demo")

    (found,) = access.review("demo").people

    said = {(one.name, one.environment): one.told["given_by"] if one.told else None for one in found.held}
    assert said == {("admin", "demo"): None, ("approver", "all"): "system:test", ("security", "all"): "system:test"}
    assert [one.name for one in access.review("staging").people[0].held] == ["approver", "security"]


def test_reviewed__keeps_the_digest_and_says_what_changed_since() -> None:
    ana = somebody("ana", Role.AUDITOR)
    somebody("root", Role.ADMIN)
    shown = access.review("demo")
    assert shown.last is None

    access_reviewed(environment="demo", digest=shown.digest, note="All needed", actor=Actor.person(ana))

    found = access.review("demo")
    assert found.last is not None
    assert (found.last.verb, found.last.reason, found.last.after["digest"]) == (
        "access.reviewed",
        "All needed",
        shown.digest,
    )
    assert (found.changed, found.digest) == ((), shown.digest)
    assert access.review("staging").last is None

    roles_set(user=ana, roles=[Role.OPERATOR], environment="demo", actor=SYSTEM)
    device_key_create(environment="demo", name="phones", actor=SYSTEM)
    found = access.review("demo")
    assert [one.verb for one in found.changed] == ["key.created", "role.changed"]
    assert found.digest != shown.digest


def test_reviewed__of_something_else_or_without_a_word__is_refused_and_keeps_nothing() -> None:
    ana = somebody("ana", Role.AUDITOR)
    shown = access.review("demo").digest
    with pytest.raises(InvalidInput, match="what the review came to"):
        access_reviewed(environment="demo", digest=shown, note=" ", actor=Actor.person(ana))
    person_create(username="late", actor=SYSTEM)
    with pytest.raises(Conflict, match="Look at it again"):
        access_reviewed(environment="demo", digest=shown, note="Fine", actor=Actor.person(ana))
    assert not HistoryEntry.objects.filter(verb=access.REVIEWED).exists()


def test_pages_and_files__as_an_auditor_uses_them(client_as: As) -> None:
    ana = somebody("ana", Role.AUDITOR)
    person_create(username="=HYPERLINK(1)", actor=SYSTEM)
    api_token_create(environment="demo", name="@ci", scopes=[Scope.READ], created_by=ana, actor=Actor.person(ana))
    client = client_as(ana)

    page = client.get("/demo/people/review").content.decode()
    assert "Access was never reviewed" in page
    digest = access.review("demo").digest
    assert client.post("/demo/people/review/done", {"digest": "other", "note": "Fine"}).status_code == 422
    assert client.post("/demo/people/review/done", {"digest": digest, "note": "Fine"}).status_code == 303
    assert "Access stands as it was reviewed" in client.get("/demo/people/review").content.decode()

    lines = rows(client, "/demo/people/review.csv")
    assert {one["who"] for one in lines} == {"ana", "'=HYPERLINK(1)", "'@ci"}
    assert {(one["person"], one["name"]) for one in rows(client, "/demo/people/history.csv")} == {
        (f"person:{ana.pk}", "auditor"),
        (f"person:{ana.pk + 1}", "viewer"),
    }
    assert rows(client, f"/demo/people/history.csv?person=person:{ana.pk}")[0]["given_by"] == "system:test"
    assert "auditor" in client.get(f"/demo/people/history?person=person:{ana.pk}").content.decode()
    assert rows(client, "/demo/people/acts.csv") == []
    read = HistoryEntry.objects.filter(verb="history.read", subject="access:demo")
    assert {one.after["read"] for one in read} == {
        "the access review as CSV",
        "who held which role, as CSV",
        "who asked and who approved, as CSV",
    }


def test_press__without_the_role__is_refused(client_as: As) -> None:
    viewer = somebody("vic", Role.VIEWER)

    response = client_as(viewer).post("/demo/people/review/done", {"digest": "x", "note": "Fine"})

    assert response.status_code == 403
    assert "Keep the review" not in client_as(viewer).get("/demo/people/review").content.decode()
