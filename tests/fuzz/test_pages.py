"""Every form of every page filled with nonsense by an administrator, and every page asked for with nonsense."""

import os
import re
from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.urls import resolve

from hawkops.accounts.services.people import person_create, teams_set
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.teams import Team
from tests.fuzz.forms import MARK, Dice, Form, forms
from tests.fuzz.trying import MORE, RECORDED, tried
from tests.pages.test_access import PAGES, PRESSES, SYSTEM, address, furnish

# of the pages and presses, every so manieth in CI; of the forms, after so many the page is looked at too
SHARE = 1 if MORE else 3
ASKED = ("part", "q", "at", "until", "window", "search", "device", "try", "threshold", "expression", "sources", "page")
# what PostgreSQL can't hold: a text, and a zone
UNFIT, FAR = "a\x00", timezone(timedelta(hours=19, minutes=33))
FILES = (b"", b"\x00\xff" * 50, b"[" * 5_000, b"{}", b"a: &a [*a, *a]\n", b"PK\x03\x04" + b"\x00" * 40, b"id,x\n=1,2\n")


@pytest.fixture(scope="module")
def furnished(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """An installation with one of everything; each try goes back to it."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield furnish()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def client(furnished: dict[str, Any]) -> Client:
    """An administrator who signs for every team."""
    found = Client(raise_request_exception=False)
    person = person_create(username="administrator", actor=SYSTEM, roles=[Role.ADMIN])
    teams_set(user=person, teams=list(Team), actor=SYSTEM)
    found.force_login(person)
    return found


def chance(name: str) -> Dice:
    """The same nonsense every time, until more is asked for."""
    return Dice(f"{name} {os.urandom(8).hex()}" if MORE else name)


def harmless(answer: Any, what: Any) -> None:
    """Say that an answer breaks nothing, leads nowhere else and shows no text as markup."""
    assert answer.status_code < 500, what
    for location in (answer.get("Location", ""), *(url for url, _ in getattr(answer, "redirect_chain", ()))):
        assert not location or (location.startswith("/") and not urlsplit(location).netloc), (location, what)
    kind = answer.get("Content-Type", "")
    if kind.startswith("text/html") and not answer.streaming:
        assert MARK.encode() not in answer.content, what


def test_pages__asked_for_with_nonsense__answer_or_say_what_is_wrong(furnished: dict[str, Any], client: Client) -> None:
    dice = chance("pages")
    for path in PAGES[::SHARE]:
        for _ in range(max(MORE, 1)):
            asked = {name: dice.nonsense() for name in dice.sample(ASKED, 3)}
            named = dict(re.findall(r"[?&](\w+)=([^&]*)", path))
            asked |= {name: dice.nonsense() for name in named}
            url = address(path.partition("?")[0], furnished)
            found = tried(lambda: client.get(url, asked))  # noqa: B023 - called at once
            harmless(found.answer, (url, asked))
            assert not found.changed - RECORDED, (url, asked, found.changed)


@pytest.mark.parametrize("part", range(3))
def test_forms__filled_with_nonsense__break_nothing_and_what_is_refused_changes_nothing(
    furnished: dict[str, Any], client: Client, part: int
) -> None:
    dice = chance(f"forms {part}")
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for path in PAGES[part::3]:
        url = address(path, furnished)
        page = client.get(url)
        shown = page["Content-Type"].startswith("text/html") and not page.streaming
        for form in forms(page.content.decode()) if shown else ():
            target = urljoin(url, form.action).partition("#")[0] if form.action else url
            # a form that stands on many pages, or once for each row, is tried once
            kind = (resolve(target.partition("?")[0]).view_name, tuple(sorted(form.fields)))
            if kind not in seen:
                seen.add(kind)
                for _ in range(max(MORE, 1)):
                    _sent(client, target, form, dice, follow=not len(seen) % SHARE)
                _answered(client, target, form.filled_with(UNFIT))
                if form.times:
                    _answered(client, target, form.timed(clock.now().astimezone(FAR) + timedelta(days=1)))
    assert len(seen) > 10


def test_presses__with_fields_of_others__break_nothing(furnished: dict[str, Any], client: Client) -> None:
    dice = chance("presses")
    names = ("reason", "note", "percent", "key", "title", "value", "revision", "edition", "ends_at", "group", "number")
    for path in list(PRESSES)[::SHARE]:
        form = Form("", {name: ["x", "1", "5"] for name in names})
        for _ in range(max(MORE, 1)):
            _sent(client, address(path, furnished), form, dice)


def _sent(client: Client, target: str, form: Form, dice: Dice, *, follow: bool = False) -> None:
    """Send a form; the page that it leads to shows what was stored."""
    data: dict[str, Any] = dict(form.filled(dice))
    data |= {name: SimpleUploadedFile("a\r\n.json", dice.choice(FILES)) for name in form.files}
    _answered(client, target, data, follow=follow)


def _answered(client: Client, target: str, data: dict[str, Any], *, follow: bool = False) -> None:
    found = tried(lambda: client.post(target, data, follow=follow))
    harmless(found.answer, (target, data))
    assert found.answer.status_code < 400 or not found.changed, (target, data, found.changed)
