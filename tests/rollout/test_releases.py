"""Releases and people's ticks: what is kept, what is refused, what the pages show."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts.models import Run
from rollout.domain.gates import Finding
from rollout.models import Attestation, Evidence, Release, RunbookVersion
from rollout.selectors import releases as selectors
from rollout.services import releases as services
from rollout.services.flags import flags_seed
from tests.rollout.walking import by_hand

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("test")
DIGEST = "sha256:" + "ab" * 32
ClientAs = Callable[[object], Client]


@pytest.fixture
def runbook() -> RunbookVersion:
    """The bundled runbook, with one box that a person ticks, and the flags."""
    flags_seed(actor=SYSTEM)
    services.runbook_import(actor=SYSTEM)
    by_hand("alert_endpoints")
    return RunbookVersion.objects.get()


def begin(environment: str = "production", **given: Any) -> Release:
    """Begin a release of HazardHawk."""
    known: dict[str, Any] = {
        "name": "HazardHawk",
        "app_version": "2.4.0",
        "version_code": "2407",
        "model_name": "gemma3-1b",
        "model_digest": DIGEST,
        "backends": ["cpu", "gpu"],
        "actor": SYSTEM,
    }
    return services.release_create(environment=environment, **{**known, **given})


@pytest.fixture
def release(runbook: RunbookVersion) -> Release:
    """A release under way in production."""
    return begin()


def row(release: Release, key: str) -> selectors.Row:
    """One row of the checklist as it stands."""
    return next(row for group in selectors.checklist(release) for row in group.rows if row.box.key == key)


def verbs(since: int) -> list[str]:
    """What was recorded after an entry."""
    return list(HistoryEntry.objects.filter(seq__gt=since).order_by("seq").values_list("verb", flat=True))


def test_runbook_import__twice__is_one_version_and_one_entry() -> None:
    runbook = services.runbook_import(actor=SYSTEM)
    seq = Head.objects.get().seq
    assert services.runbook_import(actor=SYSTEM) == runbook
    assert Head.objects.get().seq == seq
    RunbookVersion.objects.update(digest="older", document={})
    services.runbook_import(actor=SYSTEM)
    assert verbs(seq) == ["runbook.corrected"]
    assert selectors.runbook_of(RunbookVersion.objects.get()).boxes_total == 39


def test_release_seed__twice__makes_one_release_in_demo_only(runbook: RunbookVersion) -> None:
    services.release_seed(actor=SYSTEM)
    services.release_seed(actor=SYSTEM)
    only = Release.objects.get()
    assert (only.environment, only.app_version, only.backends) == ("demo", "0.1.0-demo", ["cpu"])
    assert only.model_digest.startswith("sha256:b6ea5fe3")


@pytest.mark.parametrize(
    "given,words",
    [
        ({"name": " "}, "needs a name"),
        ({"app_version": ""}, "an app version"),
        ({"model_digest": "abc"}, "64 hexadecimal digits"),
        ({"model_digest": ""}, "64 hexadecimal digits"),
        ({"version_code": "2.4"}, "whole number"),
        ({"version_code": "9" * 30}, "whole number"),
        ({"backends": []}, "Declare the backends"),
        ({"backends": ["cpu", "tpu"]}, "Declare the backends"),
    ],
)
def test_release_create__unfit__is_refused_and_leaves_nothing(
    runbook: RunbookVersion, given: dict[str, Any], words: str
) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput, match=words):
        begin(**given)
    assert (Release.objects.count(), Head.objects.get().seq) == (0, seq)


def test_release_create__another_is_under_way__needs_the_explicit_act(release: Release) -> None:
    with pytest.raises(Conflict, match=r"HazardHawk 2\.4\.0 is under way in production"):
        begin(app_version="2.4.1")
    seq = Head.objects.get().seq
    hotfix = begin(app_version="2.4.1", supersede=True)
    assert verbs(seq) == ["release.superseded", "release.created"]
    release.refresh_from_db()
    assert (release.running, hotfix.running) == (False, True)
    with pytest.raises(IntegrityError), transaction.atomic():
        Release.objects.filter(pk=release.pk).update(running=True)


def test_model_set__another_one__is_kept_with_both_and_makes_evidence_stale(runbook: RunbookVersion) -> None:
    release = begin()
    group, box = selectors.runbook(release).box("models_signed") or pytest.fail("no such box")
    found = Finding(Verdict.PASS, "Signed.", {"model_digest": DIGEST})
    services.evidence_record(release=release, box=box, finding=found)
    seq = Head.objects.get().seq
    given: dict[str, Any] = {"release": release, "model_name": "gemma3-1b", "actor": SYSTEM, "reason": "Trained anew"}
    for bad in ("12", "sha256:" + "zz" * 32):
        with pytest.raises(InvalidInput, match="64 hexadecimal digits"):
            services.release_model_set(**given, model_digest=bad)
    with pytest.raises(InvalidInput, match="Say why"):
        services.release_model_set(**{**given, "reason": " "}, model_digest="cd" * 32)
    assert verbs(seq) == []
    assert services.release_model_set(**given, model_digest="cd" * 32)
    assert not services.release_model_set(**given, model_digest="CD" * 32)
    entry = HistoryEntry.objects.get(verb="release.model_changed")
    assert (entry.before["model_digest"], entry.after["model_digest"]) == (DIGEST, "sha256:" + "cd" * 32)
    rows = {row.box.key: row for one in selectors.checklist(Release.objects.get()) for row in one.rows}
    assert rows["models_signed"].standing.verdict is Verdict.STALE
    assert group.key == "security"
    begin(app_version="2.4.1", supersede=True)
    with pytest.raises(Conflict, match="superseded"):
        services.release_model_set(**given, model_digest=DIGEST)


def test_checklist__fresh_release__has_no_data_anywhere_and_says_what_brings_it(release: Release) -> None:
    groups = selectors.checklist(release)
    assert [group.total for group in groups] == [5, 5, 5, 4, 3]
    assert {one.standing.verdict for group in groups for one in group.rows} == {Verdict.NO_DATA}
    assert row(release, "alert_endpoints").standing.sentence.startswith("Comes with the pager's contract")
    assert groups[0].measured_in == "staging"
    summary = selectors.release_summary("production")
    assert summary.headline == "HazardHawk 2.4.0: 0 of 22 pass; 22 have no data."
    assert (summary.gates_open, summary.gates_total, summary.phase) == (22, 22, None)
    assert selectors.release_summary("staging").headline == "No release walks through the runbook here."


def test_check_tick__by_hand__is_kept_with_who_when_note_and_one_entry_each(release: Release, releaser: User) -> None:
    seq = Head.objects.get().seq
    by = Actor.person(releaser)
    link = "https://ci.example/scan/12"
    assert services.check_tick(
        release=release, box="alert_endpoints", ticked=True, note="no finding", link=link, actor=by
    )
    found = row(release, "alert_endpoints")
    assert (found.standing.verdict, found.standing.sentence) == (Verdict.PASS, "Attested by releaser: no finding")
    assert services.check_tick(
        release=release, box="alert_endpoints", ticked=False, note="wrong build", link="", actor=by
    )
    assert row(release, "alert_endpoints").standing.verdict is Verdict.NO_DATA
    assert not services.check_tick(release=release, box="alert_endpoints", ticked=False, note="", link="", actor=by)
    assert verbs(seq) == ["check.ticked", "check.unticked"]
    last = HistoryEntry.objects.get(seq=seq + 2)
    assert (last.before["link"], last.after["ticked"], last.reason) == (link, False, "wrong build")


@pytest.mark.parametrize(
    "box,given,error,words",
    [
        ("flags_at_zero", {"note": "trust me"}, InvalidInput, "ticks itself from evidence"),
        ("alert_endpoints", {}, InvalidInput, "Say what you saw"),
        ("alert_endpoints", {"link": "javascript:alert(1)"}, InvalidInput, "must begin with https"),
        ("alert_endpoints", {"link": "https://"}, InvalidInput, "must begin with https"),
        ("alert_endpoints", {"link": "https://x/" + "y" * 600}, InvalidInput, "at most 500"),
        ("no_such_box", {"note": "x"}, NotFound, "no box 'no_such_box'"),
    ],
)
def test_check_tick__refused__leaves_nothing(
    release: Release, box: str, given: dict[str, str], error: type[Exception], words: str
) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(error, match=words):
        services.check_tick(release=release, box=box, ticked=True, actor=SYSTEM, **{"note": "", "link": "", **given})
    assert (Attestation.objects.count(), Head.objects.get().seq) == (0, seq)


def test_check_tick__failing_evidence__can_not_be_ticked_over(release: Release) -> None:
    box = selectors.runbook(release).box("flags_at_zero")
    assert box is not None
    services.evidence_record(release=release, box=box[1], finding=Finding(Verdict.FAIL, "1 of 4 flags is at 5 %."))
    with pytest.raises(InvalidInput, match="Ask for a waiver"):
        services.check_tick(release=release, box="flags_at_zero", ticked=True, note="ok", link="", actor=SYSTEM)
    assert row(release, "flags_at_zero").standing.verdict is Verdict.FAIL


def test_evidence_record__same_verdict_again__is_no_new_entry(release: Release) -> None:
    box = selectors.runbook(release).box("cloud_fallback")
    assert box is not None
    seq = Head.objects.get().seq
    for sentence in ("in 1.2 s", "in 1.3 s"):
        services.evidence_record(release=release, box=box[1], finding=Finding(Verdict.PASS, sentence))
    assert verbs(seq) == ["evidence.recorded"]
    services.evidence_record(release=release, box=box[1], finding=Finding(Verdict.FAIL, "no answer"))
    assert verbs(seq) == ["evidence.recorded", "evidence.recorded"]
    assert Evidence.objects.get().sentence == "no answer"


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_evidence_record__synthetic__is_never_kept_as_a_pass_outside_demo(
    runbook: RunbookVersion, environment: str
) -> None:
    release = begin(environment)
    box = selectors.runbook(release).box("memory_limit")
    assert box is not None
    subject = {"synthetic": True, "target": "host", "host": "linux x86_64", "model_digest": DIGEST}
    seq = Head.objects.get().seq
    services.evidence_record(release=release, box=box[1], finding=Finding(Verdict.PASS, "86 MB.", subject))
    assert Evidence.objects.get().verdict == "NO_DATA"
    found = row(release, "memory_limit").standing
    assert (found.verdict, found.synthetic) == (Verdict.NO_DATA, True)
    assert found.sentence == "Wrong subject: synthetic model, x86 host. 86 MB."
    assert "PASS" not in str([entry.after for entry in HistoryEntry.objects.filter(seq__gt=seq)])


def test_check_run__production__runs_in_staging_for_the_declared_backends(release: Release) -> None:
    run = services.check_run(release=release, box="memory_limit", actor=SYSTEM)
    assert (run.environment, run.script) == ("staging", "scripts/test-memory-usage.sh")
    assert run.subject["backends"] == ["cpu", "gpu"]
    assert services.check_run(release=release, box="performance_tests", actor=SYSTEM).environment == "production"
    with pytest.raises(NotFound):
        services.check_run(release=release, box="alert_endpoints", actor=SYSTEM)
    assert Run.objects.count() == 2


def test_pages__releaser__begins_ticks_and_sees_refusals(
    runbook: RunbookVersion, releaser: User, client_as: ClientAs
) -> None:
    client = client_as(releaser)
    assert "Begin a release" in client.get("/production/releases").content.decode()
    form = {
        "name": "HazardHawk",
        "app_version": "2.4.0",
        "version_code": "2407",
        "model_name": "gemma3-1b",
        "model_digest": "nonsense",
        "backends": ["cpu", "npu"],
    }
    refused = client.post("/production/releases/create", form)
    assert refused.status_code == 400
    assert "64 hexadecimal digits" in refused.content.decode()
    assert 'value="2407"' in refused.content.decode()
    begun = client.post("/production/releases/create", {**form, "model_digest": DIGEST})
    assert begun.status_code == 303
    page = client.get(begun["Location"]).content.decode()
    assert "0 of 22 pass; 22 have no data" in page
    assert page.count('class="evidence') == 41, "39 boxes and what runs at the end of a phase"
    assert "measured in staging" in page
    ticked = client.post(f"{begun['Location']}/alert_endpoints", {"ticked": "1", "note": "<b>seen</b>"})
    assert (ticked.status_code, ticked["Location"].endswith("#alert_endpoints")) == (303, True)
    page = client.get(begun["Location"]).content.decode()
    assert "Attested by releaser: &lt;b&gt;seen&lt;/b&gt;" in page
    assert "1 of 22 pass" in page
    board = client.get(f"{begun['Location']}?part=board").content.decode()
    assert board.startswith('<section class="panel checks" id="board"')
    again = client.post(f"{begun['Location']}/flags_at_zero", {"ticked": "1", "note": "x"}, follow=True)
    assert "ticks itself from evidence" in again.content.decode()


def test_pages__viewer__reads_and_has_no_buttons(release: Release, viewer: User, client_as: ClientAs) -> None:
    client = client_as(viewer)
    url = f"/production/releases/{release.pk}/checklist"
    page = client.get(url).content.decode()
    assert 'popovertarget="tick-' not in page
    assert "Run now" not in page
    seq = Head.objects.get().seq
    assert client.post(f"{url}/alert_endpoints", {"ticked": "1", "note": "x"}).status_code == 403
    assert client.get(f"/staging/releases/{release.pk}/checklist").status_code == 404
    assert Head.objects.get().seq == seq
