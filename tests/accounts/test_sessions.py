"""Sessions: listed with what is known of them, ended one by one, all others, or by an administrator; streams are cut."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.selectors import browser, sessions
from hawkops.accounts.services.people import person_create
from hawkops.accounts.services.sessions import sessions_end
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.live import LiveStream
from tests import apart

SYSTEM = Actor.system("test")
PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Safari/604.1"


@pytest.fixture
def ana(person: Callable[..., User]) -> User:
    """Somebody with a password."""
    made = person("ana", Role.ADMIN)
    made.set_password(PASSWORD)
    made.save()
    return made


def signed_in(user: User, agent: str = FIREFOX, address: str = "192.0.2.1") -> Client:
    """A browser that has opened a page."""
    client = Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)
    client.force_login(user)
    assert client.get("/profile").status_code == 200
    return client


@pytest.mark.parametrize(
    "agent,said",
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.9", "curl/8.9"),
        ("", "unknown browser"),
    ],
)
def test_browser__is_said_in_words(agent: str, said: str) -> None:
    assert browser(agent) == said


@pytest.mark.django_db
def test_profile__lists_browsers_and_ends_one(ana: User) -> None:
    here, there = signed_in(ana), signed_in(ana, IPHONE, "2001:db8::1")
    page = here.get("/profile").content.decode()
    assert "Firefox on Linux" in page and "Safari on iPhone</b> at 2001:db8::1" in page and "this one" in page
    row = UserSession.objects.get(ip="2001:db8::1")
    assert here.post(f"/profile/sessions/{row.pk}/end")["Location"] == "/profile#sessions"
    assert there.get("/profile").status_code == 302 and here.get("/profile").status_code == 200
    entry = HistoryEntry.objects.get(verb="person.session_ended")
    assert entry.before == {"browser": "Safari on iPhone"} and entry.actor == f"person:{ana.pk}"
    assert "has ended already" in here.post(f"/profile/sessions/{row.pk}/end", follow=True).content.decode()


@pytest.mark.django_db
def test_profile__ends_all_others_also_those_that_nobody_noted(ana: User) -> None:
    here, there, unnoted = signed_in(ana), signed_in(ana, IPHONE), Client()
    unnoted.force_login(ana)
    here.post("/profile/sessions/end")
    assert there.get("/profile").status_code == unnoted.get("/profile").status_code == 302
    assert here.get("/profile").status_code == 200
    assert HistoryEntry.objects.get(verb="person.session_ended").before == {"sessions": 2}
    here.post("/profile/sessions/end")
    assert HistoryEntry.objects.filter(verb="person.session_ended").count() == 1, "nothing left, no entry"


@pytest.mark.django_db
def test_somebody_elses_session__is_out_of_reach(ana: User, viewer: User) -> None:
    theirs, own = signed_in(viewer), signed_in(ana)
    row = UserSession.objects.get(user=viewer)
    own.post(f"/profile/sessions/{row.pk}/end")
    own.post("/profile/sessions/end")
    assert (
        theirs.get("/profile").status_code == 200
        and not HistoryEntry.objects.filter(verb="person.session_ended").exists()
    )


@pytest.mark.django_db
def test_administrator__sees_and_ends_all_of_a_person(ana: User, viewer: User) -> None:
    theirs, admin = signed_in(viewer, IPHONE), signed_in(ana)
    page = admin.get(f"/demo/people/{viewer.pk}").content.decode()
    assert "Safari on iPhone" in page and "Firefox" not in page
    admin.post(f"/demo/people/{viewer.pk}/sessions/end", {"reason": "Laptop lost"})
    assert theirs.get("/profile").status_code == 302
    entry = HistoryEntry.objects.get(verb="person.session_ended")
    assert (entry.subject, entry.actor, entry.reason) == (f"person:{viewer.pk}", f"person:{ana.pk}", "Laptop lost")
    admin.post(f"/demo/people/{ana.pk}/sessions/end")
    assert admin.get("/profile").status_code == 200, "one's own goes on here"


@pytest.mark.django_db
def test_key_that_changes__keeps_its_row_and_a_new_password_ends_others(ana: User) -> None:
    here, there = signed_in(ana), signed_in(ana, IPHONE)
    row = UserSession.objects.get(session_key=here.session.session_key)
    assert here.post("/confirm", {"password": PASSWORD}).status_code == 302
    assert UserSession.objects.get(pk=row.pk).session_key == here.session.session_key != row.session_key
    fresh = "another horse battery"
    assert here.post("/profile", {"new_password1": fresh, "new_password2": fresh}).status_code == 302
    ana.refresh_from_db()
    assert [one.key for one in sessions(ana)] == [here.session.session_key]
    assert there.get("/profile").status_code == 302


@pytest.mark.django_db
def test_sign_out__is_an_entry_and_leaves_no_session(ana: User) -> None:
    client = signed_in(ana)
    client.post("/logout")
    assert HistoryEntry.objects.filter(verb="person.signed_out", subject=f"person:{ana.pk}").exists()
    assert not Session.objects.exists() and sessions(ana) == []
    signed_in(ana)
    assert UserSession.objects.count() == 1, "what ended is not kept"


@pytest.mark.fresh_database
def test_live_stream__of_a_session_that_ends__is_cut_at_once_and_others_go_on() -> None:
    ana, bo = (person_create(username=name, actor=SYSTEM, roles=[Role.VIEWER]) for name in ("ana", "bo"))
    keys = [signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value for user in (ana, bo)]

    async def story() -> list[bool]:
        stream = LiveStream(settings.DATABASE_URL)
        stream.start()
        over = [asyncio.Event(), asyncio.Event()]
        begun = [asyncio.Event(), asyncio.Event()]

        async def follow(at: int) -> None:
            async def send(message: dict[str, Any]) -> None:
                begun[at].set()

            async def receive() -> dict[str, Any]:
                await asyncio.Event().wait()
                return {}

            headers = [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={keys[at]}".encode())]
            await stream({"method": "GET", "path": "/live", "headers": headers}, receive, send)
            over[at].set()

        tasks = [asyncio.create_task(follow(at)) for at in (0, 1)]
        try:
            for one in begun:
                await asyncio.wait_for(one.wait(), 10)
            while not stream.listener.connected:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(sessions_end, user=ana, actor=SYSTEM)
            await asyncio.wait_for(over[0].wait(), 5)
            return [one.is_set() for one in over]
        finally:
            for task in tasks:
                task.cancel()
            await stream.stop()

    assert apart.run(story()) == [True, False]
