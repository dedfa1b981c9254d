"""Values by form, as a proposal and through the door; flags of a team's own, made everywhere and archived."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.domain.evaluation import UnknownFlag, evaluate
from rollout.domain.targeting import Context
from rollout.domain.values import FieldUnfit
from rollout.models import EnvironmentFlags, Flag, Proposal
from rollout.selectors import flags as selectors
from rollout.selectors import targeting
from rollout.services import flags, groups, overrides, own_flags, proposals
from rollout.services.freezes import freeze_make
from rollout.services.raising import NeedsApproval, Refused, restores
from rollout.services.values import flag_values_set
from tests.rollout.walking import approve, begin, furnish, somebody

ME = Actor("person:1", "releaser-1")
COUNT = "litert_max_concurrent_inferences"
PAGE = f"/demo/flags/{COUNT}"
PROMPT: dict[str, Any] = {
    "key": "prompt.style",
    "title": "Prompt style",
    "explanation": "Asks for short answers.",
    "kind": "json",
    "on": {"words": 40},
    "off": {"words": 200},
    "safe_variant": "off",
    "schema": {"properties": {"words": {"type": "integer", "minimum": 1}}, "required": ["words"]},
    "actor": ME,
    "reason": "Shorter answers",
}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _furnished() -> None:
    furnish()
    # these tests give it a schema themselves, and its unsafe value is its on value
    Flag.objects.filter(key=COUNT).update(schema=None, safe_variant="off")


@pytest.fixture
def console(client_as: Any) -> Client:
    """A release engineer's browser."""
    found: Client = client_as(somebody("rel", Role.RELEASER))
    return found


def read(answer: Any) -> str:
    """The page's text, with plain spaces."""
    text: str = answer.content.decode().replace("\u202f", " ")
    return text


def flag(key: str = COUNT, environment: str = "demo") -> Flag:
    """The flag as it stands."""
    return Flag.objects.get(environment=environment, key=key)


def values(key: str = COUNT, environment: str = "demo", **given: Any) -> HistoryEntry | None:
    """Set values, the others as they stand."""
    stands = flag(key, environment)
    known = {
        "on": stands.on,
        "off": stands.off,
        "schema": stands.schema,
        "expected_revision": stands.revision,
        "reason": "Memory",
    }
    return flag_values_set(environment=environment, key=key, actor=ME, **{**known, **given})


def form(key: str = COUNT, **given: Any) -> dict[str, str]:
    """The form as the page holds it, and what is typed over it."""
    return {"on": "2", "off": "4", "schema": "", "revision": str(flag(key).revision), "reason": "Memory", **given}


def test_values__set__one_revision_one_entry_and_devices_get_them() -> None:
    before = EnvironmentFlags.objects.get(pk="demo").revision
    entry = values(on=1.0, schema={"minimum": 1})
    assert entry is not None
    assert (entry.verb, entry.subject) == ("flag.values_changed", f"flag:{COUNT}")
    assert [(side["on"], side["off"], side["schema"]) for side in (entry.before, entry.after)] == [
        (2, 4, None),
        (1, 4, {"minimum": 1}),
    ]
    assert flag().revision == EnvironmentFlags.objects.get(pk="demo").revision == before + 1
    overrides.flag_override_set(environment="demo", key=COUNT, variant="on", actor=ME, reason="x")
    answer = evaluate(targeting.snapshot("demo"), COUNT, Context("d1"))
    assert (answer.value, type(answer.value)) == (1, int)
    assert flag(environment="staging").on == 2


def test_values__as_they_are__leave_no_entry() -> None:
    head = Head.objects.get().seq
    assert values(on=2.0) is None
    assert Head.objects.get().seq == head


def test_values__unfit_or_changed_meanwhile__change_nothing() -> None:
    head = Head.objects.get().seq
    for given, refusal in (
        ({"on": 2.5}, FieldUnfit),
        ({"on": "2"}, FieldUnfit),
        ({"schema": {"maximum": 3}}, FieldUnfit),
        ({"expected_revision": 0, "on": 3}, Conflict),
        ({"on": 3, "reason": " "}, InvalidInput),
    ):
        with pytest.raises(refusal):
            values(**given)
    with pytest.raises(NotFound):
        flag_values_set(
            environment="demo", key="moon", on=1, off=2, schema=None, expected_revision=1, actor=ME, reason="x"
        )
    assert Head.objects.get().seq == head


def test_values__in_production__wait_where_a_device_may_get_them() -> None:
    assert values(environment="production", on=1), "nobody is served it at 0 %"
    with pytest.raises(NeedsApproval):
        values(environment="production", off=5)
    Flag.objects.filter(environment="production", key=COUNT).update(thousandths=50_000)
    with pytest.raises(NeedsApproval):
        values(environment="production", on=3)
    assert values(environment="production", schema={"minimum": 1}), "a schema alone moves no device"


def test_restores__another_value_that_python_takes_for_the_same__does_not_only_lift_an_override() -> None:
    own_flags.flag_create(**{**PROMPT, "schema": None, "on": {"a": 1}})
    known = flag("prompt.style").domain()
    assert restores(known, replace(known, on={"a": 1}))
    assert not restores(known, replace(known, on={"a": True}))


def test_values__proposed_by_form__are_compared_and_approved(client_as: Any) -> None:
    maker, ana = somebody("maker", Role.RELEASER), somebody("ana", Role.APPROVER)
    Flag.objects.filter(environment="production", key=COUNT).update(thousandths=50_000)
    given = {
        "on": "3",
        "off": "4",
        "schema": '{"maximum": 4}',
        "revision": str(flag(environment="production").revision),
    }
    page = read(
        client_as(maker).post(f"/production/flags/{COUNT}/values", {**given, "reason": "More memory"}, follow=True)
    )
    made = Proposal.objects.get()
    assert made.title == f"New values of {COUNT}: on 2 → 3"
    assert "Raising needs a second person" in page
    for row in (("on", "2", "3"), ("schema", "none", "{&quot;maximum&quot;:4}")):
        lines = page.partition(f"<p><b>{row[0]}</b></p>")[2].partition("</ol>")[0]
        assert "@@" not in lines
        assert re.findall(r'<li class="(?:del|add)">([^<]*)</li>', lines) == list(row[1:])
    assert made.title in read(client_as(ana).get("/production/proposals")).replace("&#x27;", "'")
    assert flag(environment="production").on == 2
    assert approve(made, ana).state == "applied"
    stands = flag(environment="production")
    assert (stands.on, stands.schema) == (3, {"maximum": 4})
    entry = HistoryEntry.objects.get(verb="flag.values_changed")
    assert entry.cause is not None and entry.cause.verb == "proposal.approved"
    assert '<li class="del">2</li>' in read(client_as(ana).get(f"/production/proposals/{made.pk}")), (
        "once it is done too"
    )


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"on": 2.5}, "not a whole number"),
        ({"schema": {"type": "strng"}}, "no JSON Schema"),
        ({"schema": []}, "schema"),
        ({"key": "moon"}, "no flag"),
        ({}, "already"),
    ],
)
def test_values__proposed_and_never_possible__are_refused(payload: dict[str, Any], words: str) -> None:
    head = Head.objects.get().seq
    known = {"key": COUNT, "on": 2, "off": 4, "schema": None, "expected_revision": 1, **payload}
    with pytest.raises((InvalidInput, NotFound), match=words):
        proposals.proposal_make(kind="flag.values", environment="production", payload=known, actor=ME, reason="x")
    del known["off"]
    with pytest.raises(InvalidInput):
        proposals.proposal_make(kind="flag.values", environment="production", payload=known, actor=ME, reason="x")
    assert Head.objects.get().seq == head


def test_page__form_fits_the_type(console: Client) -> None:
    page = read(console.get(PAGE))
    assert 'name="on" type="number" step="1" inputmode="numeric" value="2" required' in page
    assert 'name="off" type="number" step="1" inputmode="numeric" value="4" required' in page
    page = read(console.get("/demo/flags/litert_switching_threshold"))
    assert 'name="on" type="number" step="any" inputmode="decimal" value="0.3" required' in page
    page = read(console.get("/demo/flags/litert_enabled"))
    assert "its values are fixed" in page
    assert "/litert_enabled/values" not in page
    own_flags.flag_create(**PROMPT)
    page = read(console.get("/demo/flags/prompt.style"))
    assert "{\n  &quot;words&quot;: 40\n}</textarea>" in page
    assert "<details open><summary>JSON Schema" in page
    assert "serve <b>off</b>" in page and "{&quot;words&quot;:200}" in page


def test_page__a_reader__sees_the_values_and_no_form(client_as: Any) -> None:
    page = read(client_as(somebody("eye", Role.VIEWER)).get(PAGE))
    assert '<dt>on</dt><dd class="mono laid">2</dd>' in page
    assert "flags/" + COUNT + "/values" not in page


def test_page__saved_by_a_plain_form(console: Client) -> None:
    answer = console.post(f"{PAGE}/values", form(on="3", schema='{"minimum": 1}'))
    assert (answer.status_code, answer["Location"]) == (303, PAGE)
    assert "are saved: entry" in read(console.get(PAGE))
    assert (flag().on, flag().schema) == (3, {"minimum": 1})
    again = form(on="3", schema='{"minimum": 1}')
    assert "has these values already" in read(console.post(f"{PAGE}/values", again, follow=True))


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"on": "2.5"}, "on", "2.5 is not a whole number."),
        ({"off": ""}, "off", "is not a number."),
        ({"off": "NaN"}, "off", "is not a number."),
        ({"schema": "{"}, "schema", "It can&#x27;t be read."),
        ({"schema": '{"type": "strng"}'}, "schema", "It is no JSON Schema at type"),
        ({"schema": '{"$ref": "https://example.org/x"}'}, "schema", "is not fetched"),
        ({"schema": '{"maximum": 3}'}, "schema", "The off value does not meet it. 4 is greater than the maximum of 3."),
        ({"schema": '{"maximum": 5}', "off": "6"}, "off", "It does not meet the schema."),
    ],
)
@pytest.mark.parametrize("htmx", [False, True])
def test_page__unfit__says_so_beside_the_field_keeps_what_was_typed_and_changes_nothing(
    console: Client, typed: dict[str, str], field: str, words: str, htmx: bool
) -> None:
    head = Head.objects.get().seq
    headers = {"HX-Request": "true"} if htmx else {}
    answer = console.post(f"{PAGE}/values", form(**typed), headers=headers)
    page = read(answer)
    # htmx shows no other status
    assert answer.status_code == (200 if htmx else 422)
    assert ("<html" in page) is not htmx
    said = page.partition(f'id="v-{field}-bad" role="alert">')[2].partition("</p>")[0]
    assert words in said, page
    assert page.count('role="alert"') == 1
    assert 'value="Memory"' in page
    if "schema" in typed:
        assert typed["schema"].replace('"', "&quot;") in page
    assert Head.objects.get().seq == head


def test_page__changed_meanwhile__is_said_and_what_was_typed_stays(console: Client) -> None:
    old = form(on="3")
    flags.flag_percentage_set(environment="demo", key=COUNT, percent=50, actor=ME, reason="Half")
    page = read(console.post(f"{PAGE}/values", old))
    assert "was changed meanwhile" in page and 'value="3" required' in page
    assert flag().on == 2


def test_page__saved_by_htmx__goes_on_to_the_page(console: Client) -> None:
    answer = console.post(f"{PAGE}/values", form(on="3"), headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"], answer.content) == (204, PAGE, b"")
    assert flag().on == 3


def test_values__by_who_may_not__is_refused(client_as: Any) -> None:
    reader = client_as(somebody("eye", Role.VIEWER))
    assert reader.post(f"{PAGE}/values", form(on="3")).status_code == 403
    assert reader.post("/demo/flags/create", {"key": "x"}).status_code == 403
    assert flag().on == 2


def test_create__everywhere_with_the_safe_value_for_everybody() -> None:
    entries = own_flags.flag_create(**PROMPT)
    assert {(one.environment, one.verb, one.subject) for one in entries} == {
        (one.value, "flag.created", "flag:prompt.style") for one in Environment
    }
    for one in Environment:
        stands = flag("prompt.style", one.value)
        assert (stands.thousandths, stands.on, stands.off) == (0, {"words": 40}, {"words": 200})
        assert evaluate(targeting.snapshot(one.value), "prompt.style", Context("d1")).value == {"words": 200}
    assert [one.key for one in selectors.flags("demo")][-1] == "prompt.style"
    own_flags.flag_create(**{**PROMPT, "key": "keep", "safe_variant": "on"})
    assert evaluate(targeting.snapshot("production"), "keep", Context("d1")).value == {"words": 40}


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"key": "litert_enabled"}, "key", "there is a flag litert_enabled already"),
        ({"key": "a b"}, "key", "letters, digits"),
        ({"key": ""}, "key", "letters, digits"),
        ({"key": "x" * 81}, "key", "letters, digits"),
        ({"key": "new"}, "key", "can't be called new"),
        ({"key": ".."}, "key", "can't be called"),
        ({"title": " "}, "title", "title"),
        ({"explanation": "a\nb"}, "explanation", "one line"),
        ({"kind": "number"}, "type", "one of boolean"),
        ({"safe_variant": "maybe"}, "safe_variant", "on or off"),
        ({"on": {"words": 0}}, "on", "minimum"),
        ({"off": 3}, "off", "object or a list"),
        ({"schema": {"type": "x"}}, "schema", "no JSON Schema"),
    ],
)
def test_create__unfit__is_refused_by_field_and_makes_nothing(given: dict[str, Any], field: str, words: str) -> None:
    head = Head.objects.get().seq
    with pytest.raises(FieldUnfit) as refused:
        own_flags.flag_create(**{**PROMPT, **given})
    assert (refused.value.field, words in str(refused.value)) == (field, True), refused.value
    assert Head.objects.get().seq == head
    assert not Flag.objects.filter(key="prompt.style").exists()


def test_create__by_form__and_refused_with_what_was_typed(console: Client) -> None:
    assert "Add a flag" in read(console.get("/demo/flags"))
    typed = {
        "key": "answer.words",
        "title": "Words",
        "explanation": "Short answers.",
        "type": "integer",
        "on": "40",
        "off": "many",
        "schema": '{"minimum": 1}',
        "safe_variant": "off",
        "reason": "Trial",
    }
    answer = console.post("/demo/flags/create", typed)
    page = read(answer)
    assert answer.status_code == 422
    assert "&#x27;many&#x27; is not a number." in page.partition('id="v-off-bad" role="alert">')[2]
    for kept in ('value="answer.words"', 'value="Short answers."', "<option selected>integer</option>", "minimum"):
        assert kept in page
    taken = read(console.post("/demo/flags/create", {**typed, "off": "4", "key": COUNT}))
    assert f"There is a flag {COUNT} already" in taken.partition('id="key-bad" role="alert">')[2]
    for unfit in ("", "number"):
        assert "Choose a type." in read(console.post("/demo/flags/create", {**typed, "type": unfit}))
    answer = console.post("/demo/flags/create", {**typed, "off": "200"})
    assert (answer.status_code, answer["Location"]) == (303, "/demo/flags/answer.words")
    assert Flag.objects.filter(key="answer.words", on=40, off=200).count() == 3
    boolean = {**typed, "key": "plain", "type": "boolean", "on": "", "off": "", "schema": ""}
    assert console.post("/demo/flags/create", boolean).status_code == 303
    assert (flag("plain").on, flag("plain").off) == (True, False)


def test_create__with_rights_in_one_environment_only__is_refused(client_as: Any, person: Any) -> None:
    client = client_as(person("demo-only", Role.RELEASER, environment="demo"))
    assert client.post("/demo/flags/create", {"key": "x"}).status_code == 403
    assert "which you don't hold" in read(client.get("/demo/flags/new")).replace("&#x27;", "'")


def archive(key: str = "prompt.style", environment: str = "demo") -> HistoryEntry | None:
    """Archive a flag."""
    return own_flags.flag_archive(
        environment=environment,
        key=key,
        expected_revision=flag(key, environment).revision,
        actor=ME,
        reason="Done with it",
    )


def test_archive__nobody_is_answered_nothing_changes_it_and_its_key_stays_taken(console: Client) -> None:
    own_flags.flag_create(**PROMPT)
    groups.group_create(environment="demo", key="crew", title="Crew", actor=ME, reason="x")
    Flag.objects.filter(environment="demo", key="prompt.style").update(
        rules=[{"variant": "on", "thousandths": 100_000, "group": "crew", "constraints": []}], override_variant="on"
    )
    before = EnvironmentFlags.objects.get(pk="demo").revision
    entry = archive()
    assert entry is not None and entry.verb == "flag.archived"
    assert EnvironmentFlags.objects.get(pk="demo").revision == before + 1
    with pytest.raises(UnknownFlag):
        evaluate(targeting.snapshot("demo"), "prompt.style", Context("d1"))
    assert evaluate(targeting.snapshot("staging"), "prompt.style", Context("d1")).variant == "off"
    assert "prompt.style" not in {one.key for one in selectors.flags("demo")}
    assert selectors.overridden("demo") == []
    head = Head.objects.get().seq
    revision = flag("prompt.style").revision
    common: dict[str, Any] = {"environment": "demo", "key": "prompt.style", "actor": ME, "reason": "x"}
    for press in (
        lambda: flags.flag_percentage_set(percent=5, **common),
        lambda: overrides.flag_override_set(variant="off", **common),
        lambda: values("prompt.style", on={"words": 3}),
        lambda: own_flags.flag_archive(expected_revision=revision, **common),
        lambda: own_flags.flag_create(**PROMPT),
        lambda: flags.flag_requires_set(
            **{**common, "key": COUNT}, requires=["prompt.style"], expected_revision=flag().revision
        ),
    ):
        with pytest.raises((Conflict, InvalidInput), match=r"archived|no flag"):
            press()
    assert Head.objects.get().seq == head
    groups.group_delete(environment="demo", key="crew", actor=ME, reason="x")

    page = read(console.get("/demo/flags/prompt.style"))
    assert "nobody in demo is answered from it" in page
    assert "<form" not in page.partition("<main")[2]
    for path, given in (("rules", {"preview": "1"}), ("rules", {}), ("percentage", {"percent": "5", "revision": "1"})):
        answer = console.post(f"/demo/flags/prompt.style/{path}", {**given, "reason": "x"}, follow=True)
        assert answer.status_code in (200, 422)
    headers = {"HX-Request": "true"}
    assert console.post("/demo/flags/prompt.style/rules", {"preview": "1"}, headers=headers).status_code == 404
    assert console.post("/demo/flags/prompt.style/values", form(), headers=headers).status_code == 200
    listed = read(console.get("/demo/flags"))
    assert "prompt.style" not in listed and "1 archived flag." in listed
    assert "prompt.style" in read(console.get("/demo/flags?archived=1"))


def test_archive__what_something_needs__is_refused(console: Client) -> None:
    own_flags.flag_create(**PROMPT)
    release = begin("demo")
    flags.flag_requires_set(
        environment="demo",
        key=COUNT,
        requires=["prompt.style"],
        expected_revision=flag().revision,
        actor=ME,
        reason="x",
    )
    head = Head.objects.get().seq
    with pytest.raises(Conflict, match=f"{COUNT} requires prompt.style"):
        archive()
    with pytest.raises(Conflict, match="one of the runbook's flags"):
        archive(COUNT)
    assert Head.objects.get().seq == head
    flags.flag_requires_set(
        environment="demo", key=COUNT, requires=[], expected_revision=flag().revision, actor=ME, reason="x"
    )
    document = release.runbook.document
    document["phases"][0]["flag"] = "prompt.style"
    release.runbook.document = document
    release.runbook.save()
    with pytest.raises(Conflict, match="walks by a runbook that names"):
        archive()
    assert "walks by a runbook" in read(console.get("/demo/flags/prompt.style"))


def test_archive__in_production__waits_and_a_freeze_holds_it(client_as: Any) -> None:
    own_flags.flag_create(**PROMPT)
    with pytest.raises(NeedsApproval):
        archive(environment="production")
    maker = client_as(somebody("maker", Role.RELEASER))
    given = {"revision": str(flag("prompt.style", "production").revision), "reason": "Done with it"}
    page = read(maker.post("/production/flags/prompt.style/archive", given, follow=True))
    assert "Archive prompt.style" in page and "It is proposed" in page
    assert approve(Proposal.objects.get(), somebody("ana", Role.APPROVER)).state == "applied"
    assert flag("prompt.style", "production").archived_at is not None
    with pytest.raises(InvalidInput, match="runbook's flags"):
        proposals.proposal_make(
            kind="flag.archive",
            environment="production",
            payload={"key": COUNT, "expected_revision": 1},
            actor=ME,
            reason="x",
        )
    freeze_make(
        environment="demo",
        starts_at=clock.now(),
        ends_at=clock.now() + timedelta(hours=1),
        actor=ME,
        reason="Holiday",
    )
    with pytest.raises(Refused, match="Holiday"):
        archive()


def test_archive__by_form__and_refused_in_words(console: Client) -> None:
    own_flags.flag_create(**PROMPT)
    where = "/demo/flags/prompt.style/archive"
    assert "changed meanwhile" in read(console.post(where, {"revision": "0", "reason": "x"}, follow=True))
    given = {"revision": str(flag("prompt.style").revision), "reason": "Done with it"}
    assert "is archived in demo" in read(console.post(where, given, follow=True))
    assert "runbook&#x27;s flags" in read(console.post(f"{PAGE}/archive", given, follow=True))
