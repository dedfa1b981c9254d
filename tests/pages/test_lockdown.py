"""Security lockdown as plain forms: the press, what the page says while it stands, and the two people who lift it."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create
from hawkops.core.access import Role, Scope
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts.models import Run
from incidents.models import Incident
from incidents.services.channels import routes_seed
from incidents.services.following import incidents_follow
from rollout.models import Flag, Lockdown
from rollout.services.flags import flags_seed
from tests.rollout.walking import SYSTEM, begin, devices, furnish
from tests.scripts.test_in_browser import browse

pytestmark = pytest.mark.django_db
PAGE = "/demo/emergency"
As = Callable[[object], Client]


@pytest.fixture
def console(operator: User, client_as: As) -> Client:
    """The operator's browser, with flags and three devices of which all run LiteRT."""
    flags_seed(actor=SYSTEM)
    routes_seed(actor=SYSTEM)
    devices("demo", 3)
    return client_as(operator)


def said(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined, no-any-return]


def test_press__plain_form__locks_and_every_page_says_so(console: Client) -> None:
    text = said(console.get(PAGE))
    assert "Lock demo down" in text
    assert "3 devices</b> that run LiteRT now, as a kill does" in text
    assert "is in lockdown" not in text
    answer = console.post(f"{PAGE}/lockdown", {"reason": "Leaked key", "words": "in a paste", "severity": "critical"})
    assert answer.status_code == 303
    found = Lockdown.objects.get()
    assert (found.reason, found.severity, found.by) == ("Leaked key: in a paste", "critical", "operator")
    text = said(console.get(PAGE))
    assert "Demo is in lockdown" in text
    assert "0 of 3</b> active obey the kill, 3 pending, 0 unreachable" in text
    assert "opens within seconds" in text
    assert "Lock demo down" not in text
    for page in ("/demo/", "/demo/flags", "/demo/strip"):
        strip = said(console.get(page))
        assert re.search(
            r'class="killed"><a href="/demo/emergency#lockdown"><b>.*?Lockdown: LiteRT is off</b>', strip
        ), page
        assert "nothing is raised; 0 of 3 devices obey, cloud answers" in strip
    assert "#lockdown" not in said(console.get("/staging/"))


def test_press__again__says_who_pressed_and_changes_nothing(console: Client) -> None:
    console.post(f"{PAGE}/lockdown", {})
    seq = Head.objects.get().seq
    text = said(console.post(f"{PAGE}/lockdown", {}, follow=True))
    assert "demo was already in lockdown, pressed by operator. Nothing was changed." in text
    assert Head.objects.get().seq == seq


def test_press__without_flags__says_what_is_missing(operator: User, client_as: As) -> None:
    answer = client_as(operator).post(f"{PAGE}/lockdown", {}, follow=True)
    assert "The environment demo has no flags yet" in said(answer)


def test_pages__after_it_was_read__show_incident_runs_and_channels(console: Client) -> None:
    console.post(f"{PAGE}/lockdown", {})
    incidents_follow()
    made = Incident.objects.get()
    collect, notify = Run.objects.order_by("pk")
    Run.objects.filter(pk=collect.pk).update(state="passed", summary="9 lines hold.")
    Run.objects.filter(pk=notify.pk).update(state="no_data", summary="no channel is set")
    for page in (PAGE, f"{PAGE}/lockdown/panel", f"/demo/incidents/{made.pk}"):
        text = said(console.get(page))
        assert f'<a href="/demo/runs/{collect.pk}">Run {collect.pk}</a>. 9 lines hold.' in text, page
        assert f'<a href="/demo/runs/{notify.pk}">Run {notify.pk}</a>. no channel is set' in text, page
        assert "No channel takes the topic security here." in text, page
    assert f"Incident {made.pk}: Security lockdown: Security incident detected" in said(console.get(PAGE))


def test_lift__takes_two_people__and_says_that_litert_stays_off(
    console: Client, person: Callable[..., User], client_as: As
) -> None:
    console.post(f"{PAGE}/lockdown", {})
    approver = client_as(person("carla", Role.APPROVER))
    text = said(approver.post(f"{PAGE}/lockdown/lift/confirm", {}, follow=True))
    assert "Nobody asks to lift the lockdown" in text
    text = said(console.post(f"{PAGE}/lockdown/lift", {"reason": "Key rotated"}, follow=True))
    assert "It stands until an approver who is somebody else confirms." in text
    assert "operator</b> asks to lift it" in text
    assert "operator asks to lift it" in said(console.get("/demo/strip"))
    assert console.post(f"{PAGE}/lockdown/lift/confirm", {}).status_code == 403
    refused = console.post(
        f"{PAGE}/enable", {"flags": ["litert_enabled"], "confirm": "demo", "reason": "x"}, follow=True
    )
    assert "Lockdown: In lockdown since" in said(refused)
    text = said(approver.get(PAGE))
    asked_at = re.search(r'name="asked_at" value="([^"]+)"', text)
    assert asked_at is not None
    text = said(approver.post(f"{PAGE}/lockdown/lift/confirm", {"asked_at": asked_at[1]}, follow=True))
    assert "The lockdown is lifted. LiteRT stays off until somebody re-enables it below." in text
    assert "is in lockdown" not in text
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == "off"
    assert HistoryEntry.objects.get(verb="lockdown.lifted").actor_label == "carla"


@pytest.mark.parametrize("roles", [(Role.OPERATOR, Role.APPROVER), (Role.ADMIN,)])
def test_lift__by_whoever_asked__is_refused_to_administrators_too(
    console: Client, person: Callable[..., User], client_as: As, roles: tuple[Role, ...]
) -> None:
    console.post(f"{PAGE}/lockdown", {})
    both = client_as(person("both", *roles))
    text = said(both.post(f"{PAGE}/lockdown/lift", {}, follow=True))
    assert "You asked, so an approver who is somebody else must confirm." in text
    assert re.search(r"<button[^>]* disabled>Confirm, lift the lockdown", text)
    text = said(both.post(f"{PAGE}/lockdown/lift/confirm", {}, follow=True))
    assert "You asked to lift this lockdown" in text
    assert Lockdown.objects.get().stands
    text = said(both.post(f"{PAGE}/lockdown/lift/withdraw", {}, follow=True))
    assert "Taken back. The lockdown stands." in text
    assert Lockdown.objects.get().asked_at is None


def test_why__of_a_flag_that_would_rise__names_the_lockdown(console: Client) -> None:
    furnish()
    release = begin("demo")
    console.post(f"{PAGE}/lockdown", {"reason": "Leaked key"})
    lines = console.get("/api/v1/demo/may-advance").json()["lines"]
    line = next(one for one in lines if one["key"] == "lockdown")
    assert (line["verdict"], line["blocks"]) == ("FAIL", True)
    assert "by operator, severity high: Leaked key." in line["sentence"]
    assert line["why"]["formula"] == "no lockdown stands"
    assert "On the emergency page one person asks to lift it" in line["why"]["turns"][0]
    assert "no lockdown stands" in said(console.get(f"/demo/releases/{release.pk}"))


# ---- on a phone, without JavaScript ----


LOCK = ("lockdown", {"reason": "Leaked key", "severity": "low", "words": "in a paste"})
ASK = ("lockdown/lift", {"reason": "Key rotated"})
WITHDRAW: tuple[str, dict[str, str]] = ("lockdown/lift/withdraw", {})


def test_phone__without_javascript__each_press_sends_what_the_console_carries_out(
    console: Client, person: Callable[..., User], client_as: As
) -> None:
    approver = client_as(person("carla", Role.APPROVER))
    pages = {f"{PAGE}?free": said(console.get(PAGE))}
    console.post(f"{PAGE}/{LOCK[0]}", LOCK[1])
    pages[f"{PAGE}?locked"] = said(console.get(PAGE))
    console.post(f"{PAGE}/{ASK[0]}", ASK[1])
    pages[f"{PAGE}?asked"], pages[f"{PAGE}?confirm"] = said(console.get(PAGE)), said(approver.get(PAGE))
    asked = Lockdown.objects.get()
    assert asked.asked_at is not None
    confirm = ("lockdown/lift/confirm", {"asked_at": asked.asked_at.isoformat()})
    pages |= {f"{PAGE}/{where}": "<p>Sent.</p>" for where, _ in (LOCK, ASK, WITHDRAW, confirm)}
    sent: list[tuple[str, dict[str, str]]] = []

    def press(page: Page, which: str, button: str, fill: Callable[[Page], None] = lambda page: None) -> None:
        page.goto(f"http://console.test{PAGE}?{which}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, which
        fill(page)
        found = page.get_by_role("button", name=button)
        expect(found).to_be_enabled()
        box = found.bounding_box()
        assert box is not None
        assert box["height"] >= 44, button
        with page.expect_request(lambda request: request.method == "POST") as request:
            found.click()
        expect(page.get_by_text("Sent.")).to_be_visible()
        data = dict(parse_qsl(request.value.post_data or "", keep_blank_values=True))
        assert data.pop("csrfmiddlewaretoken")
        sent.append((request.value.url.partition(f"{PAGE}/")[2], data))

    def choose(page: Page) -> None:
        page.get_by_label("Leaked key").check()
        page.get_by_label("Low", exact=True).check()
        page.locator("#lock-more").fill("in a paste")

    def story(page: Page) -> None:
        press(page, "free", "Lock demo down", choose)
        press(page, "locked", "Ask to lift it", lambda page: page.locator("#lift-why").fill("Key rotated"))
        press(page, "asked", "Take it back")
        press(page, "confirm", "Confirm, lift the lockdown")

    browse(story, pages, scripts=False)
    assert sent == [LOCK, ASK, WITHDRAW, confirm]


def test_phone__a_long_reason_and_every_run__fits(console: Client) -> None:
    console.post(f"{PAGE}/lockdown", {"reason": "x" * 120, "words": "https://example.com/" + "y" * 150})
    incidents_follow()
    Run.objects.update(state="failed", summary="z" * 200)
    pages = (PAGE, f"/demo/incidents/{Incident.objects.get().pk}")

    def story(page: Page) -> None:
        for address in pages:
            page.goto(f"http://console.test{address}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, address

    browse(story, {page: said(console.get(page)) for page in pages}, scripts=False)


def test_api__token_asks_and_only_a_person_confirms(
    console: Client, person: Callable[..., User], client_as: As
) -> None:
    _, kill = api_token_create(environment="demo", name="night", scopes=[Scope.KILL], actor=Actor.system("test"))
    _, write = api_token_create(
        environment="demo", name="pipeline", scopes=[Scope.FLAGS_WRITE, Scope.READ], actor=Actor.system("test")
    )

    def post(token: str, path: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        answer = Client().post(
            f"/api/v1/demo/{path}", body, "application/json", headers={"Authorization": f"Bearer {token}"}
        )
        return answer.status_code, answer.json()

    status, made = post(kill, "emergency/lockdown", {"reason": "Leaked key", "severity": "critical"})
    assert (status, made["changed"], made["severity"], made["by"]) == (200, True, "critical", "night")
    status, again = post(kill, "emergency/lockdown", {})
    assert (status, again["changed"], again["lockdown"]) == (200, False, made["lockdown"])
    assert post(kill, "emergency/lockdown/lift", {})[0] == 403
    status, asked = post(write, "emergency/lockdown/lift", {"reason": "Key rotated"})
    assert (status, asked["stands"], asked["asked_by"]) == (200, True, "pipeline")
    status, refused = post(write, "emergency/lockdown/lift/confirm", {})
    assert (status, refused) == (403, {"error": "Only a person confirms: sign in. A token may ask."})
    status, refused = post(write, "reenable", {"flags": ["litert_enabled"], "reason": "x"})
    assert (status, "Lockdown: In lockdown since" in str(refused["error"])) == (409, True)
    assert Lockdown.objects.get().stands
    approver = client_as(person("carla", Role.APPROVER))
    answer = approver.post("/api/v1/demo/emergency/lockdown/lift/confirm", {}, "application/json")
    assert (answer.status_code, answer.json()["stands"], answer.json()["lifted_by"]) == (200, False, "carla")
    read = Client().get("/api/v1/demo/lockdown", headers={"Authorization": f"Bearer {write}"}).json()
    assert (read["stands"], read["newest"]["lifted_by"]) == (False, "carla")
