"""What an auditor reads of people, and takes out, is itself in the history; once, and without names."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from hawkops.accounts.services.credentials import api_token_create
from hawkops.accounts.services.people import person_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.reading import READ
from rollout.models import TargetGroup

pytestmark = pytest.mark.django_db


def read() -> list[tuple[str, str, dict[str, str]]]:
    """Who read what, oldest first."""
    found = HistoryEntry.objects.filter(verb=READ).order_by("seq")
    return [(one.actor, one.subject, one.after) for one in found]


@pytest.fixture
def auditor(person: Any) -> Any:
    """Somebody who reads."""
    return person("auditor", Role.AUDITOR)


@pytest.fixture
def mia(auditor: Any) -> Any:
    """Somebody whose acts stand in the history."""
    made = person_create(username="mia", actor=Actor.system("test"))
    person_create(username="noah", actor=Actor.person(made))
    return made


def test_file__taken_out__stands_with_what_was_asked_and_no_name(auditor: Any, mia: Any, client_as: Any) -> None:
    client = client_as(auditor)
    for ending in ("csv", "jsonl"):
        answer = client.get(f"/demo/history.{ending}?q=actor:mia+verb:person.+Mia")
        assert answer.status_code == 200 and b"".join(answer.streaming_content)
    found = read()
    assert [(who, subject) for who, subject, _ in found] == [(f"person:{auditor.pk}", "history:demo")] * 2
    assert found[0][2]["asked"] == f"actor:person:{mia.pk} verb:person. actor:person:{mia.pk}"
    assert found[0][2]["read"].startswith("csv, up to entry ")


def test_file__refused__is_no_reading(auditor: Any, client_as: Any) -> None:
    assert client_as(auditor).get("/demo/history.csv?q=nobody:knows").status_code == 422
    assert read() == []


@pytest.mark.parametrize(
    "path", ["history?q=actor:mia", "history?q=subject:person:{mia}", "history/subject/person:{mia}"]
)
def test_person__looked_up__stands_once_in_some_minutes(auditor: Any, mia: Any, client_as: Any, path: str) -> None:
    client = client_as(auditor)
    address = f"/demo/{path.format(mia=mia.pk)}"
    for _ in range(3):
        assert client.get(address).status_code == 200
    assert [(who, subject) for who, subject, _ in read()] == [(f"person:{auditor.pk}", f"person:{mia.pk}")]
    with time_machine.travel(clock.now() + timedelta(minutes=6), tick=True):
        client.get(address)
    assert len(read()) == 2


def test_entry__about_a_person__is_a_reading_and_others_are_not(auditor: Any, mia: Any, client_as: Any) -> None:
    client = client_as(auditor)
    about = HistoryEntry.objects.get(verb="person.created", subject=f"person:{mia.pk}")
    client.get(f"/demo/history/{about.seq}")
    assert [subject for _, subject, _ in read()] == [f"person:{mia.pk}"]
    client.get(f"/demo/history/{HistoryEntry.objects.get(verb=READ).seq}?")  # of a person again, told already
    client.get("/demo/history?q=verb:flag.")
    client.get(f"/demo/history?q=actor:{auditor.username}")  # one's own
    client.get("/demo/history?q=-actor:mia")
    assert len(read()) == 1


def test_api__a_program_looks_a_person_up__stands_as_the_tokens_reading(mia: Any) -> None:
    token, secret = api_token_create(
        environment="demo", name="siem", scopes=[Scope.READ], actor=Actor.system("test"), created_by=None
    )
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    for address in ("history?q=actor:mia", f"history/subjects/person:{mia.pk}", "history?verb=flag."):
        assert client.get(f"/api/v1/demo/{address}").status_code == 200
    assert [(who, subject) for who, subject, _ in read()] == [(f"token:{token.pk}", f"person:{mia.pk}")]


def test_group__its_devices_taken_out__is_a_reading(auditor: Any, client_as: Any) -> None:
    TargetGroup.objects.create(environment="demo", key="pilots", title="Pilots", changed_at=clock.now())
    assert client_as(auditor).get("/demo/groups/pilots.csv").status_code == 200
    assert [subject for _, subject, _ in read()] == ["group:pilots"]
