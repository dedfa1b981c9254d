"""Rules by plain forms: shown as sentences, previewed on real devices, saved with a conflict seen; groups beside them."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.models import CensusDevice, EnvironmentFlags, Flag, GroupMember, TargetGroup
from rollout.services import flags as services
from rollout.services import groups

ME = Actor("person:1", "releaser-1")
PAGE = "/demo/flags/litert_enabled"
OLD_DRIVER = {
    "rule-1-place": "1",
    "rule-1-variant": "off",
    "rule-1-percent": "",
    "rule-1-attribute-1": "device.gpu.driver",
    "rule-1-operator-1": "is below",
    "rule-1-values-1": "512",
}
TESTERS = {"rule-2-place": "2", "rule-2-variant": "on", "rule-2-percent": "100", "rule-2-group": "internal_testers"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet() -> None:
    """Ten devices: the first four with an old driver, the last two have said nothing; LiteRT at 100 %."""
    services.flags_seed(actor=ME)
    groups.groups_seed(actor=ME)
    now = clock.now()
    for number in range(10):
        driver = {"device.gpu.driver": "508.1" if number < 4 else "512.8"}
        CensusDevice.objects.create(
            environment="demo",
            device_id=f"d{number}",
            attributes=driver if number < 8 else {},
            first_seen_at=now,
            last_seen_at=now if number else now - timedelta(minutes=30),
        )


@pytest.fixture
def console(client_as: Any, releaser: object, fleet: None) -> Client:
    """A release engineer's browser."""
    found: Client = client_as(releaser)
    return found


def read(answer: Any) -> str:
    """The page's text, with plain spaces."""
    text: str = answer.content.decode().replace("\u202f", " ")
    return text


def revision() -> str:
    """What the form carries."""
    return str(Flag.objects.get(environment="demo", key="litert_enabled").revision)


def test_preview__says_who_changes_and_keeps_nothing(console: Client) -> None:
    seq = Head.objects.get().seq
    page = read(
        console.post(f"{PAGE}/rules", {**OLD_DRIVER, "revision": revision(), "preview": "1", "reason": "Driver"})
    )
    assert "<b>+0 devices, −4</b>: on for 6 of 10 active = 60 % of the fleet." in page
    assert "Lowers: no device leaves the safe value, off." in page
    assert "Rule 1 serves 4 of the 4 it speaks of." in page
    assert "2 devices said nothing of itself yet" in page
    assert 'value="Driver"' in page
    assert (Head.objects.get().seq, Flag.objects.get(environment="demo", key="litert_enabled").rules) == (seq, [])


def test_save__rules_stand_as_sentences_and_devices_are_told(console: Client) -> None:
    before = EnvironmentFlags.objects.get(pk="demo").revision
    form = {**OLD_DRIVER, **TESTERS, "pinned": "d1 = on", "revision": revision(), "reason": "Driver crashes"}
    answer = console.post(f"{PAGE}/rules", form)
    assert (answer.status_code, answer["Location"]) == (303, PAGE)
    page = read(console.get(PAGE))
    assert "where <mark>GPU driver is below 512</mark>" in page
    assert "the group <mark>internal_testers</mark>" in page
    assert "<b>3</b> <small" in page, "d1 is pinned"
    assert EnvironmentFlags.objects.get(pk="demo").revision == before + 1
    entry = HistoryEntry.objects.get(verb="flag.rules_changed")
    assert (entry.reason, entry.after["pinned"], len(entry.after["rules"])) == ("Driver crashes", 1, 2)
    assert "d1" not in str(entry.after)
    assert console.post(f"{PAGE}/rules", {**form, "revision": revision()}).status_code == 303
    assert HistoryEntry.objects.filter(verb="flag.rules_changed").count() == 1, "nothing changed, nothing recorded"


def test_save__changed_meanwhile__is_refused_and_what_was_typed_stays(console: Client) -> None:
    old = revision()
    services.flag_percentage_set(environment="demo", key="litert_enabled", percent=50, actor=ME, reason="Half")
    answer = console.post(f"{PAGE}/rules", {**OLD_DRIVER, "revision": old, "reason": "Driver"})
    page = read(answer)
    assert answer.status_code == 422
    assert "was changed meanwhile" in page
    assert 'value="device.gpu.driver"' in page
    assert Flag.objects.get(environment="demo", key="litert_enabled").rules == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule-1-percent": "many"}, "is no percentage"),
        ({"rule-1-values-1": "new"}, "is no version"),
        ({"rule-1-group": "nobody"}, "there is no group"),
        ({"rule-1-variant": "maybe"}, "serves on or off"),
        ({"pinned": "d1 is on"}, "one on a line"),
        ({"pinned": "d1 = on\nd1 = off"}, "pinned twice"),
        ({"reason": " "}, "Say why"),
    ],
)
def test_save__unfit__is_refused_in_words(console: Client, changes: dict[str, str], words: str) -> None:
    seq = Head.objects.get().seq
    form = {**OLD_DRIVER, "revision": revision(), "reason": "Driver", **changes}
    answer = console.post(f"{PAGE}/rules", form)
    assert (answer.status_code, words in read(answer)) == (422, True), read(answer)
    assert Head.objects.get().seq == seq


def test_rules__by_who_may_not__is_refused_but_shown(client_as: Any, viewer: object, fleet: None) -> None:
    reader = client_as(viewer)
    form = {**OLD_DRIVER, "revision": revision(), "reason": "x"}
    assert reader.post(f"{PAGE}/rules", form).status_code == 403
    assert "on for 6 of 10" in read(reader.post(f"{PAGE}/rules", {**form, "preview": "1"}))


def test_why__shows_each_step_for_a_device_as_the_census_knows_it(console: Client) -> None:
    console.post(f"{PAGE}/rules", {**OLD_DRIVER, **TESTERS, "revision": revision(), "reason": "Driver"})
    page = read(console.get(f"{PAGE}?device=d0"))
    assert "Rule 1: serve off to devices GPU driver is below 512" in page
    assert '<span class="mono">device.gpu.driver</span> 508.1' in page
    other = read(console.get(f"{PAGE}?device=d9"))
    assert "it does not say its device.gpu.driver" in other
    assert "it is not in internal_testers" in other
    assert "It has said nothing of itself yet." in other


def test_groups__members_are_set_with_a_revision_and_the_history_names_nobody(fleet: None) -> None:
    group = TargetGroup.objects.get(environment="demo", key="internal_testers")
    given: dict[str, Any] = {"environment": "demo", "key": group.key, "actor": ME, "reason": "The team"}
    entry = groups.group_members_set(members=["d1", "d2", "d1"], expected_revision=group.revision, **given)
    assert entry is not None
    assert (entry.after["members"], entry.after["added"], entry.after["digest"]) == (2, 2, groups.digest({"d2", "d1"}))
    assert "d1" not in str(entry.after).replace(entry.after["digest"], "")
    with pytest.raises(Conflict):
        groups.group_members_set(members=["d3"], expected_revision=group.revision, **given)
    group.refresh_from_db()
    assert groups.group_members_set(members=["d2", "d1"], expected_revision=group.revision, **given) is None
    with pytest.raises(InvalidInput, match="no targeting key"):
        groups.group_members_set(members=["a\nb"], expected_revision=group.revision, **given)


def test_group__named_by_a_rule__is_not_deleted(console: Client) -> None:
    console.post(f"{PAGE}/rules", {**TESTERS, "revision": revision(), "reason": "The team"})
    with pytest.raises(InvalidInput, match="litert_enabled"):
        groups.group_delete(environment="demo", key="internal_testers", actor=ME, reason="x")
    groups.group_delete(environment="demo", key="beta_testers", actor=ME, reason="x")
    assert not TargetGroup.objects.filter(environment="demo", key="beta_testers").exists()


def test_erase__takes_a_device_out_of_groups_and_pins(console: Client) -> None:
    group = TargetGroup.objects.get(environment="demo", key="internal_testers")
    groups.group_members_set(
        environment="demo", key=group.key, members=["d1"], expected_revision=group.revision, actor=ME, reason="x"
    )
    console.post(f"{PAGE}/rules", {"pinned": "d1 = off\nd2 = on", "revision": revision(), "reason": "x"})
    before = EnvironmentFlags.objects.get(pk="demo").revision
    assert groups.device_erase("demo", "d1") == 2
    assert not GroupMember.objects.exists()
    assert Flag.objects.get(environment="demo", key="litert_enabled").pinned == {"d2": "on"}
    assert EnvironmentFlags.objects.get(pk="demo").revision == before + 1
    assert groups.device_erase("demo", "d1") == 0


def test_group_pages__typed_uploaded_exported_and_deleted(console: Client) -> None:
    made = console.post("/demo/groups/create", {"key": "friends", "title": "Friends", "reason": "Asked"})
    assert (made.status_code, made["Location"]) == (303, "/demo/groups/friends")

    def now() -> dict[str, str]:
        return {"revision": str(TargetGroup.objects.get(key="friends").revision), "reason": "Asked"}

    url = "/demo/groups/friends"
    old = now()
    assert console.post(f"{url}/members", {**old, "members": "d1\n d2 \n\n"}).status_code == 303
    page = read(console.get(url))
    assert "<b>2</b> devices, <b>2</b> active" in page
    assert "+2 devices, −0" in page
    late = console.post(f"{url}/members", {**old, "members": "d7"})
    assert (late.status_code, "was changed meanwhile" in read(late), ">d7</textarea>" in read(late)) == (
        422,
        True,
        True,
    )

    file = SimpleUploadedFile("f.csv", '\ufefftargeting_key,name\r\nd3,x\r\n"a,b",y\r\n'.encode())
    assert console.post(f"{url}/members", {**now(), "members": "d1", "file": file}).status_code == 303
    exported = b"".join(console.get(f"{url}.csv").streaming_content).decode()  # type: ignore[attr-defined]
    assert exported == 'targeting_key\r\n"a,b"\r\nd3\r\n'

    for data, words in ((b"\xff\xfe", "not UTF-8"), (b'd1\n"d2', "no CSV"), (b"x" * 300, "no targeting key")):
        refused = console.post(f"{url}/members", {**now(), "file": SimpleUploadedFile("f.csv", data)})
        assert (refused.status_code, words in read(refused)) == (422, True)
    assert console.post(f"{url}/delete", {"reason": "Done"}).status_code == 303
    assert console.get(url).status_code == 404
    for key in ("create", "Friends", "a b", "", "internal_testers"):
        console.post("/demo/groups/create", {"key": key, "title": "x", "reason": "x"})
    assert TargetGroup.objects.filter(environment="demo").count() == 3


def test_group_pages__a_reader__sees_and_changes_nothing(client_as: Any, viewer: object, fleet: None) -> None:
    reader = client_as(viewer)
    assert "<textarea" not in read(reader.get("/demo/groups/internal_testers"))
    for path, form in (
        ("create", {"key": "x"}),
        ("internal_testers/members", {"members": "d1"}),
        ("internal_testers/delete", {}),
    ):
        assert reader.post(f"/demo/groups/{path}", {**form, "reason": "x"}).status_code == 403


def test_override__for_some_devices__is_set_shown_and_lifted(console: Client) -> None:
    where = {"attribute": "device.gpu.driver", "operator": "is below", "values": "512"}
    answer = console.post(f"{PAGE}/override", {**where, "variant": "off", "reason": "Crashes"})
    assert answer.status_code == 303
    page = read(console.get(f"{PAGE}?device=d0"))
    assert "devices where <mark>GPU driver is below 512</mark> get <b>off</b>" in page
    assert "Emergency override where GPU driver is below 512: Crashes" in page
    assert "it does not meet that" in read(console.get(f"{PAGE}?device=d5"))
    assert "forced off where GPU driver is below 512" in read(console.get("/demo/emergency"))
    console.post(f"{PAGE}/override", {**where, "variant": "on", "reason": "Mended"})
    (kept,) = Flag.objects.get(environment="demo", key="litert_enabled").scoped_overrides
    assert (kept["variant"], kept["number"]) == ("on", 2), "the same condition again replaces it"
    assert console.post(f"{PAGE}/override", {"number": "2", "reason": "Over"}).status_code == 303
    assert Flag.objects.get(environment="demo", key="litert_enabled").scoped_overrides == []
    entries = HistoryEntry.objects.filter(subject="flag:litert_enabled").order_by("seq")
    verbs = list(entries.values_list("verb", flat=True))
    assert verbs[-3:] == ["flag.override_set", "flag.override_set", "flag.override_cleared"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"values": "new"}, "is no version"), ({"variant": "maybe"}, "on or off"), ({"reason": ""}, "Say why")],
)
def test_override__for_some_devices__unfit__is_refused(console: Client, changes: dict[str, str], words: str) -> None:
    form = {"attribute": "device.gpu.driver", "operator": "is below", "values": "512", "variant": "off", "reason": "x"}
    seq = Head.objects.get().seq
    assert words in read(console.post(f"{PAGE}/override", {**form, **changes}, follow=True))
    assert Head.objects.get().seq == seq


def test_preview__asked_while_typing__is_only_the_numbers(console: Client) -> None:
    head = Head.objects.get().seq
    form = {**OLD_DRIVER, "revision": "1", "preview": "1"}
    answer = console.post(f"{PAGE}/rules", form, headers={"HX-Request": "true"})
    assert "−4" in read(answer)
    assert "<form" not in read(answer)
    bad = {**form, "rule-1-operator-1": "is"} | {"rule-1-attribute-1": "", "rule-1-values-1": "x"}
    said = console.post(f"{PAGE}/rules", bad, headers={"HX-Request": "true"})
    assert (said.status_code, "Name the attribute" in read(said)) == (200, True)
    assert Head.objects.get().seq == head


def test_salt__anew__says_who_would_flip_and_is_recorded(console: Client) -> None:
    Flag.objects.filter(environment="demo", key="litert_enabled").update(thousandths=50_000)
    form = {"salt": "litert_enabled-2", "reason": "Other devices first", "revision": "1"}
    head = Head.objects.get().seq
    said = read(console.post(f"{PAGE}/salt", {**form, "preview": "1"}, follow=True))
    assert "of 10 active devices would flip" in said
    assert Head.objects.get().seq == head
    console.post(f"{PAGE}/salt", form)
    entry = HistoryEntry.objects.get(verb="flag.salted")
    assert (entry.before["salt"], entry.after["salt"]) == ("litert_enabled-1", "litert_enabled-2")
    assert "changed meanwhile" in read(console.post(f"{PAGE}/salt", {**form, "salt": "x"}, follow=True))
    assert "A salt has" in read(console.post(f"{PAGE}/salt", {**form, "salt": "a b"}, follow=True))


def test_requires__a_circle_or_an_unknown_flag__is_refused_and_changes_nothing(console: Client) -> None:
    head = Head.objects.get().seq
    form = {"requires": ["litert_gpu_backend"], "reason": "x", "revision": "1"}
    said = read(console.post(f"{PAGE}/requires", form, follow=True))
    assert "litert_enabled → litert_gpu_backend → litert_enabled" in said
    assert "There is no flag" in read(console.post(f"{PAGE}/requires", {**form, "requires": ["moon"]}, follow=True))
    assert Head.objects.get().seq == head
    console.post(f"{PAGE}/requires", {**form, "requires": ["ai_fallback_to_cloud"]})
    assert Flag.objects.get(environment="demo", key="litert_enabled").requires == ["ai_fallback_to_cloud"]
    assert "changed meanwhile" in read(console.post(f"{PAGE}/requires", {**form, "requires": []}, follow=True))
