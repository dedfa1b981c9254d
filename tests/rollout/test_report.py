"""The validation report: what it says with and without data or a release, where it goes, and that it can be proven."""

import argparse
import io
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.scripts import services as scripts
from hawkops.scripts.checks.registry import check
from hawkops.scripts.kept import Kept
from hawkops.scripts.models import State
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.probes.measuring import Exit
from monitoring.models import PanelHour, StoredCriterion
from monitoring.services.criteria import criteria_seed
from rollout.domain import report as domain
from rollout.domain.report import Report
from rollout.domain.validation import Critical
from rollout.exports import report_html, report_json
from rollout.models import GuardrailState, PhaseRun, Release, Waiver
from rollout.selectors import critical
from rollout.selectors import report as selectors
from tests.monitoring.rows import stored
from tests.rollout.walking import SYSTEM, begin, data_flows, furnish, healthy, in_panel, somebody

pytestmark = pytest.mark.django_db
HOSTILE = '<script>alert("x")</script>'
HOURS = timedelta(hours=50)


@pytest.fixture(autouse=True)
def incidents() -> Iterator[list[Critical]]:
    """What a registered source of incidents knows; nothing at first."""
    known: list[Critical] = []

    def source(environment: str, since: Any) -> list[Critical]:
        return [one for one in known if one.ended_at is None or one.ended_at > since]

    critical.register(source)
    yield known
    critical._sources.remove(source)


def under_way(environment: str = "staging", **given: Any) -> tuple[Release, PhaseRun]:
    """A release in its first phase, which reached its target percentage two days ago, as rows that are there."""
    from rollout.services.validation import validations_due

    furnish()
    release = begin(environment, **given)
    now = clock.now()
    run = PhaseRun.objects.create(
        release=release, number=1, percents=[1.0], step=1, started_at=now - HOURS, started_by="releaser-1",
        reached_at=now - HOURS,
    )  # fmt: skip
    data_flows(environment, since=now - HOURS, until=now)
    validations_due()
    return release, run


def well(run: PhaseRun, **given: Any) -> None:
    """Store telemetry on which every line of the validation passes, but for what is given."""
    at, environment = clock.now(), run.release.environment
    healthy(environment, at, before=run.started_at, **given)
    lately = at - timedelta(minutes=15)
    for variant in ("on", "off"):
        rest: dict[str, Any] = {"environment": environment, "variant": variant, "device_class": "snapdragon-8-elite"}
        for metric, values in (
            ("app.session.duration", [280.0 + index % 41 for index in range(1_200)]),
            ("app.tasks.started", [2_000.0]),
            ("app.tasks.completed", [1_990.0]),
            ("app.engagement.events", [9_000.0]),
            ("app.user.satisfaction", [5.0] * 20_000 if variant == "on" else []),
        ):
            if values:
                stored(metric, values, lately, **rest)
        for metric in ("app.engagement.events", "app.session.duration"):
            in_panel(environment, metric, lately, [300.0 + number % 10 for number in range(200)], variant=variant)
    PanelHour.objects.filter(metric="app.user.satisfaction").update(total=F("count") * 4.8)


def made(environment: str = "staging", **given: Any) -> Report:
    """The report as the numbers stand."""
    return selectors.report(environment, now=clock.now(), **given)


def verdicts(found: Report) -> dict[str, str]:
    """What each of the runbook's lines says."""
    return {line.key: line.verdict.value if line.in_scope else "out of scope" for line in found.listed}


def run(*words: str) -> list[Finding]:
    """Run the check with the options of its script."""
    wanted = check("validation-report")
    parser = argparse.ArgumentParser()
    wanted.options(parser)
    return list(wanted.run(parser.parse_args(words)))


# ---- what it says ----


def test_report__all_well__thirteen_lines_pass_with_their_numbers() -> None:
    _, phase = under_way()
    well(phase)
    found = made()

    assert len(found.listed) == 13
    assert set(verdicts(found).values()) == {"PASS"}, verdicts(found)
    assert found.verdict is Verdict.PASS
    assert found.sentences[0] == "13 of 13 lines pass."
    assert found.sentences[1].startswith("HazardHawk 2.4.0 is in phase 1 of 4, ")
    assert "48 h of 48 h of live data" in found.sentences[1]
    latency = next(line for line in found.lines if line.key == "validated_latency").readings[0]
    assert (latency.comparator, latency.threshold, latency.unit) == ("<", 3.0, "s")
    assert latency.value is not None and latency.low is not None and latency.high is not None
    assert latency.low <= latency.value <= latency.high < 3.0
    assert (latency.have, latency.need) == (400, 60)
    assert latency.chart is not None
    assert [value for value in latency.chart.treatment if value is not None]


def test_report__a_line_misses__fails_and_says_which() -> None:
    _, phase = under_way()
    well(phase, times={"gen_ai.client.operation.duration": 10.0})
    found = made()

    assert found.verdict is Verdict.FAIL
    assert verdicts(found)["validated_latency"] == "FAIL"
    assert "failing: Inference latency" in found.sentences[0]
    assert found.advice is not None
    assert found.advice.recommendation == "ROLL BACK"
    assert found.sentences[2].startswith("The numbers recommend to ROLL BACK. Latency for 48 hours: ")
    assert 'class="limit missed"' in report_html(found)


def test_report__no_data__says_what_is_missing_and_draws_nothing() -> None:
    under_way()
    found = made()
    page = report_html(found)

    assert found.verdict is Verdict.NO_DATA
    assert "Nothing was reported in the last" in page
    assert "What is missing" in page
    assert found.missing
    assert found.next_step.startswith("To start phase 2, ")


def test_report__too_few__says_when_there_is_enough() -> None:
    _, phase = under_way()
    healthy("staging", clock.now(), before=phase.started_at)
    for variant in ("on", "off"):
        stored("app.session.duration", [300.0] * 100, clock.now(), environment="staging", variant=variant,
               device_class="snapdragon-8-elite")  # fmt: skip
    reading = next(line for line in made().lines if line.key == "validated_sessions").readings[0]

    assert reading.verdict is Verdict.INSUFFICIENT
    assert (reading.have, reading.need) == (100, 800)
    assert "800 observations are needed, in about 14" in reading.soon


def test_report__without_release__reads_the_last_two_days_by_the_runbooks_lines() -> None:
    furnish()
    stored("gen_ai.client.operation.duration", [0.5] * 100, clock.now(), environment="demo")
    found = made("demo")
    page = report_html(found)

    assert found.subject is None and found.advice is None
    assert len(found.listed) == 13
    assert found.sentences[1].startswith("No release walks through the runbook in demo.")
    assert found.hours.until - found.hours.since == timedelta(hours=48)
    assert "No release in demo" in page
    assert "Guardrails" not in page


def test_report__nothing_seeded__is_a_page_that_says_so() -> None:
    found = made("production")
    page = report_html(found)

    assert found.lines == ()
    assert found.verdict is Verdict.NO_DATA
    assert "No criterion of the validation is stored" in page


def test_report__without_runbook__every_criterion_is_a_line() -> None:
    criteria_seed(actor=SYSTEM)
    found = made("production")

    assert {line.key for line in found.listed} == set(
        StoredCriterion.objects.filter(purpose="validation").values_list("key", flat=True)
    )


def test_report__criterion_is_gone__its_line_is_no_data() -> None:
    _, phase = under_way()
    well(phase)
    StoredCriterion.objects.filter(key="validation-latency").delete()
    found = made()

    assert verdicts(found)["validated_latency"] == "NO_DATA"
    assert "no such criterion is stored" in report_html(found).lower()
    assert domain.verify(json.loads(report_json(found))) == []


def test_report__simulated__is_marked_in_demo_and_does_not_count_elsewhere() -> None:
    _, phase = under_way("demo")
    healthy("demo", clock.now(), before=phase.started_at, simulated=True)
    found = made("demo")

    assert found.simulated
    assert "simulated devices</span>" in report_html(found)
    assert json.loads(report_json(found))["simulated"] is True


def test_report__simulated_devices_in_staging__are_the_wrong_subject() -> None:
    _, phase = under_way()
    healthy("staging", clock.now(), before=phase.started_at, simulated=True)

    assert verdicts(made())["validated_api"] == "NO_DATA"


def test_report__what_happened_and_what_stands_in_the_way__is_all_there(incidents: list[Critical]) -> None:
    release, phase = under_way()
    now = clock.now()
    incidents.append(Critical("Phones get hot", now - timedelta(hours=60), now - timedelta(hours=49)))
    Waiver.objects.create(
        release=release, box="validated_tickets", reason="The desk reports weekly", owner="lead-1", by="approver-1",
        made_at=now, expires_at=now + timedelta(days=2),
    )  # fmt: skip
    Waiver.objects.create(
        release=release, box="validated_api", reason="Long over", owner="lead-1", by="approver-1", made_at=now - HOURS,
        expires_at=now - timedelta(hours=1),
    )  # fmt: skip
    GuardrailState.objects.create(
        run=phase, key="crashes", verdict="FAIL", sentence="3 crashes of 40 devices", looked_at=now, changed_at=now
    )
    found = made()
    page = report_html(found)

    assert [one.title for one in found.happened] == ["Phones get hot"]
    assert [one.box for one in found.waivers] == ["validated_tickets"]
    assert next(line for line in found.lines if line.key == "validated_tickets").waived is not None
    assert next(one for one in found.rails if one.key == "crashes").verdict is Verdict.FAIL
    for words in ("Phones get hot", "The desk reports weekly", "3 crashes of 40 devices"):
        assert words in page
    assert "Long over" not in page


def test_report__two_sides__both_are_drawn_and_the_control_is_of_every_backend() -> None:
    _, phase = under_way()
    well(phase)
    now = clock.now()
    where: dict[str, Any] = {"environment": "staging", "variant": "off", "device_class": "snapdragon-8-elite"}
    stored("gen_ai.client.operation.duration", [1.5] * 50, now, requested="cloud", actual="cloud", **where)
    reading = next(line for line in made().lines if line.key == "validated_latency").readings[0]

    assert reading.chart is not None
    assert max(value for value in reading.chart.control if value is not None) == pytest.approx(1.5, rel=0.02)
    assert max(value for value in reading.chart.treatment if value is not None) < 1.0
    assert reading.chart.limit == 3.0


# ---- the page ----


def test_page__hostile_names__are_shown_and_not_obeyed(incidents: list[Critical]) -> None:
    release, phase = under_way(name=HOSTILE, model_name=HOSTILE)
    well(phase)
    now = clock.now()
    incidents.append(Critical(HOSTILE, now - timedelta(hours=60), now - timedelta(hours=49)))
    Waiver.objects.create(
        release=release, box="validated_api", reason=HOSTILE, owner=HOSTILE, by=HOSTILE, made_at=now,
        expires_at=now + timedelta(days=1),
    )  # fmt: skip
    row = StoredCriterion.objects.get(key="validation-latency")
    row.document = {**row.document, "title": HOSTILE}
    row.save()
    stored("litert.prefill.throughput", [300.0] * 100, now, environment="staging", device_class=HOSTILE)
    page = report_html(made())

    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;") >= 5


def test_page__stands_alone() -> None:
    _, phase = under_way()
    well(phase)
    page = report_html(made())

    assert "http" not in page
    assert not re.search(r"\bsrc\s*=|@import|url\(|<link|<iframe|<object", page)
    assert set(re.findall(r'href="([^"]*)"', page)) <= {
        f"#{name}" for name in re.findall(r'<symbol id="([^"]+)"', page)
    }
    assert len(page) < 250_000


def test_page_and_json__say_the_same() -> None:
    _, phase = under_way()
    well(phase, crashes=(400, 0))
    found = made(run_id=7)
    page, told = report_html(found), json.loads(report_json(found))

    assert told["schema"] == domain.SCHEMA
    assert told["verdict"] == found.verdict == "FAIL"
    assert set(told["lines"][0]) >= {"key", "title", "verdict", "in_scope", "readings", "waived"}
    for line in told["lines"]:
        card = page.split(f"<h3>{line['title']}</h3>")[1].split("</section>")[0]
        assert (line["verdict"] or "not in scope").replace("_", " ") in card
        for one in line["readings"]:
            assert one["value_shown"] in card
            assert one["target_shown"].replace("<", "&lt;") in card or not one["value_shown"]
    assert told["proof"]["thresholds_sha256"] in page
    assert told["proof"]["history_hash"] in page
    assert "run 7" in page


# ---- its proof ----


def test_verify__untouched__holds_with_and_without_a_release() -> None:
    furnish()
    assert domain.verify(json.loads(report_json(made("production")))) == []
    _, phase = under_way()
    well(phase)

    assert domain.verify(json.loads(report_json(made()))) == []


Change = Callable[[dict[str, Any]], None]


def _raise_threshold(told: dict[str, Any]) -> None:
    next(one for one in told["thresholds"]["criteria"] if one["key"] == "validation-latency")["threshold"] = "9 s"


def _pass(told: dict[str, Any]) -> None:
    told["verdict"] = "PASS"


def _pass_line(told: dict[str, Any]) -> None:
    line = next(one for one in told["lines"] if one["key"] == "validated_latency")
    line["verdict"] = line["readings"][0]["verdict"] = "PASS"


def _faster(told: dict[str, Any]) -> None:
    told["numbers"]["validation-latency"]["all"]["own"]["observed"]["count"] = 10


def _nothing(told: dict[str, Any]) -> None:
    told["numbers"] = {}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_raise_threshold, "thresholds"),
        (_pass, "verdict"),
        (_pass_line, "lines: validation-latency"),
        (_faster, "lines: validation-latency"),
        (_nothing, "report"),
    ],
)
def test_verify__altered__names_where(change: Change, where: str) -> None:
    _, phase = under_way()
    well(phase, times={"gen_ai.client.operation.duration": 10.0})
    told = deepcopy(json.loads(report_json(made())))
    change(told)

    assert where in {one.where for one in domain.verify(told)}


def test_report_verify__command__holds_or_names_the_difference(tmp_path: Path) -> None:
    _, phase = under_way()
    well(phase)
    file = tmp_path / "report.json"
    file.write_text(report_json(made()))
    said = io.StringIO()
    call_command("report_verify", str(file), stdout=said)

    assert "The report holds: 18 criteria judged anew, PASS." in said.getvalue()
    file.write_text(file.read_text().replace('"verdict": "PASS"', '"verdict": "FAIL"', 1))
    with pytest.raises(CommandError, match="does not hold"):
        call_command("report_verify", str(file), stdout=said)
    with pytest.raises(CommandError, match="can't be read"):
        call_command("report_verify", str(tmp_path / "absent.json"))
    file.write_text("<!doctype html>")
    with pytest.raises(CommandError, match="is no JSON"):
        call_command("report_verify", str(file))


# ---- where it goes ----


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which somebody types the script."""
    monkeypatch.chdir(tmp_path)
    for name in ("HAWKOPS_RESULT", "HAWKOPS_FILES", "HAWKOPS_RUN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_typed__page__is_written_where_asked_with_its_json_and_ends_as_it_says(
    typed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, phase = under_way("production")
    well(phase, times={"gen_ai.client.operation.duration": 10.0})
    found = run("--output=validation-report-20260101.html")

    assert findings.together(one.outcome for one in found) is Exit.FAILED
    page = (typed / "validation-report-20260101.html").read_text()
    told = json.loads((typed / "validation-report-20260101.json").read_text())
    assert told["verdict"] == "FAIL"
    for one in found:
        if one.name.startswith("validation-") and one.name != selectors.NAME:
            assert one.title in page
    assert "The report says: FAIL. " in capsys.readouterr().out


def test_typed__json__is_written_alone(typed: Path) -> None:
    run("--output=r.json")

    assert [one.name for one in typed.iterdir()] == ["r.json"]
    assert json.loads((typed / "r.json").read_text())["environment"] == "production"


def test_typed__without_output__each_environment_has_its_own(typed: Path) -> None:
    for environment in ("demo", "staging"):
        run(f"--environment={environment}")

    assert len(list(typed.glob("validation-report-*.html"))) == 2


@pytest.mark.parametrize(("output", "says"), [("/etc/passwd", r"ends in \.html"), ("/absent/r.html", "is missing")])
def test_typed__nonsense__is_refused(typed: Path, output: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        run(f"--output={output}")
    assert list(typed.iterdir()) == []


def test_nothing_stored__is_a_lack_and_no_pass(typed: Path) -> None:
    found = run("--output=r.html")

    assert findings.together(one.outcome for one in found) is Exit.UNMEASURED


def in_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch, environment: str, number: int) -> list[Finding]:
    """Run the check as a run of the console does."""
    for name, value in (
        ("HAWKOPS_FILES", str(folder)),
        ("HAWKOPS_RUN", str(number)),
        ("HAWKOPS_ENVIRONMENT", environment),
    ):
        monkeypatch.setenv(name, value)
    return run("--output=validation-report-20260101.html")


def test_run__two_environments_and_two_runs__none_takes_anothers_place(
    typed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, _ = under_way("demo", name="Hazard Hawk/../x")
    for environment, number in (("demo", 1), ("demo", 2), ("staging", 3)):
        found = in_a_run(typed, monkeypatch, environment, number)
    names = sorted(one.name for one in typed.glob("*.html"))

    day = f"{clock.now():%Y%m%d}"
    assert names == [
        f"validation-report-20260101-demo-hazard-hawk-..-x-2.4.0-{day}-run-1.html",
        f"validation-report-20260101-demo-hazard-hawk-..-x-2.4.0-{day}-run-2.html",
        f"validation-report-20260101-staging-{day}-run-3.html",
    ]
    assert len(list(typed.iterdir())) == 6
    kept = next(one for one in found if one.name == selectors.NAME)
    assert kept.outcome is None, "it judges nothing"
    assert "release" not in kept.about
    assert release.running


def test_release_page__newest_report__is_linked_and_anothers_is_not(
    typed: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    release, _ = under_way("demo")
    client.force_login(somebody("viewer-1", Role.VIEWER))
    page = f"/demo/releases/{release.pk}"
    assert "No validation report yet" in client.get(page).content.decode()
    asked = scripts.run_request(
        environment="demo", name="scripts/generate-validation-report.sh", arguments={}, actor=SYSTEM, send=False
    )
    taken = scripts.run_start(run_id=asked.pk)
    assert taken is not None
    result = typed / "result.jsonl"
    monkeypatch.setenv("HAWKOPS_RESULT", str(result))
    findings.report(in_a_run(typed, monkeypatch, "demo", taken.pk))
    files = [Kept(one.name, one.read_bytes()) for one in sorted(typed.glob("validation-report*"))]
    rows = [json.loads(line) for line in result.read_text().splitlines()]
    scripts.run_finish(run=taken, state=State.PASSED, exit_code=0, summary="Made.", results=rows, files=files)
    said = client.get(page).content.decode()

    for one in files:
        assert f"/demo/runs/{taken.pk}/files/{one.name}" in said
        assert next(row for row in rows if row["name"] == selectors.NAME)[f"sha256:{one.name}"] == one.sha256
    Release.objects.filter(pk=release.pk).update(running=False)
    assert selectors.newest(begin("demo", app_version="2.5.0")) is None
