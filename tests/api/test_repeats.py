"""`Idempotency-Key`: what is sent again is answered as before, and done once."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import KeyedAnswer
from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Scope
from hawkops.history.models import Head
from rollout.models import Release
from tests.api.test_use import RELEASE, SYSTEM, Pipeline

pytestmark = pytest.mark.django_db
RELEASES = "/api/v1/demo/releases"


@pytest.fixture
def secret() -> str:
    return Pipeline().secret


def post(secret: str, body: Any, key: str, path: str = RELEASES) -> Any:
    """Send a POST with a key."""
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key}
    return Client().post(path, json.dumps(body), content_type="application/json", headers=headers)


def test_post__sent_again__has_the_same_answer_and_is_done_once(secret: str) -> None:
    first = post(secret, RELEASE, "build-2407")
    seq = Head.objects.get().seq
    again = post(secret, RELEASE, "build-2407")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.content, again["Location"], again["Content-Type"]) == (
        first.content,
        first["Location"],
        first["Content-Type"],
    )
    assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
    assert (Release.objects.count(), Head.objects.get().seq) == (1, seq)


def test_post__same_key_with_another_body_or_address__is_refused(secret: str) -> None:
    made = post(secret, RELEASE, "one").json()
    seq = Head.objects.get().seq
    other = {**RELEASE, "app_version": "2.4.1", "supersede": True}
    answers = [
        post(secret, other, "one"),
        post(secret, RELEASE, "one", f"{RELEASES}/{made['release']}/evidence/refresh"),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert "came with another request before" in answer.json()["error"]
    for bad in ("", "two words", "x" * 201):
        assert post(secret, other, bad).status_code == 422
    assert (Release.objects.count(), Head.objects.get().seq) == (1, seq)


def test_post__what_was_refused__may_be_sent_again_with_its_key(secret: str) -> None:
    assert post(secret, {**RELEASE, "model_digest": "x"}, "k").status_code == 400
    assert not KeyedAnswer.objects.exists()
    assert post(secret, RELEASE, "k").status_code == 201


def test_post__another_callers_key__is_another_key(secret: str) -> None:
    assert post(secret, RELEASE, "k").status_code == 201
    _, other = api_token_create(environment="demo", name="other", scopes=list(Scope), actor=SYSTEM)
    assert post(other, RELEASE, "k").status_code == 409, "a release is under way, which is what it asks for anew"
    _, reader = api_token_create(environment="demo", name="reader", scopes=[Scope.READ], actor=SYSTEM)
    assert post(reader, RELEASE, "k").status_code == 403


def test_post__under_way_or_older_than_a_day__is_told_so_or_done_anew(secret: str) -> None:
    assert post(secret, RELEASE, "k").status_code == 201
    KeyedAnswer.objects.update(status=None)
    answer = post(secret, RELEASE, "k")
    assert (answer.status_code, "under way" in answer.json()["error"]) == (409, True)
    KeyedAnswer.objects.update(at=clock.now() - timedelta(hours=25))
    answer = post(secret, {**RELEASE, "supersede": True}, "k")
    assert answer.status_code == 201
    assert Release.objects.count() == 2


def test_kept_answers__hold_no_secret_in_plain(secret: str) -> None:
    """An answer that shows a secret once is kept for a day, for a request that is sent again."""
    first = post(secret, RELEASE, "sealed")
    kept = KeyedAnswer.objects.get()
    name = str(RELEASE["name"]).encode()
    assert first.status_code == 201 and name in first.content
    assert name not in bytes(kept.content)
    assert post(secret, RELEASE, "sealed").content == first.content
    KeyedAnswer.objects.update(content=b"gAAAAAbroken")
    assert post(secret, RELEASE, "sealed").status_code == 409
