"""The dashboards and their charts over HTTP: numbers, marks, empty states, simulated devices, bad wishes."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plotly.graph_objects import Figure

from hawkops.core.charts import themed
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring.charts.boards import BOARDS
from monitoring.domain import metrics
from monitoring.models import StoredCriterion
from monitoring.services.alerts import alerts_evaluate
from monitoring.services.criteria import criteria_seed, criterion_save
from monitoring.urls import DASHBOARDS
from monitoring.views.board_page import BoardPage
from tests.monitoring.rows import in_panel, seen, steps, stored

pytestmark = pytest.mark.django_db
CHARTS = [panel.name for panel in BOARDS["litert"].panels]
PAGE = "/demo/monitoring/litert"


@pytest.fixture(autouse=True)
def _criteria() -> None:
    criteria_seed(actor=Actor.system("test"))


@pytest.fixture
def client(client_as: Callable[[object], Any], viewer: object) -> Any:
    return client_as(viewer)


@pytest.fixture
def reporting() -> datetime:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.PREFILL, [30_000.0, 32_000.0], moment)
        stored(metrics.DECODE, [4_000.0, 4_100.0], moment)
        stored(metrics.OPERATION, [0.05], moment)
        stored(metrics.MEMORY, [1.2e8], moment)
        stored(metrics.MEMORY_PEAK, [1.3e8], moment)
        stored(metrics.INFERENCES, [2.0], moment, requested="gpu")
    return now


def known(values: list[float | None]) -> list[float]:
    """Return what a line shows; a step may have begun since the last report."""
    return [value for value in values if value is not None]


def test_without_data_the_page_says_what_would_bring_it(client: Any) -> None:
    page = client.get(PAGE)
    assert page.status_code == 200
    assert "No device has reported in demo" in page.text
    assert "/v1/metrics" in page.text
    for name in CHARTS:
        figure = client.get(f"{PAGE}/charts/{name}.json").json()
        assert figure["empty"]
        assert "data" not in figure


def test_the_page_shows_readings_with_target_sample_age_and_verdict(client: Any, reporting: datetime) -> None:
    page = client.get(PAGE)
    assert page.status_code == 200
    assert "CPU prefill runs at" in page.text
    assert "synthetic profile" in page.text
    assert "40 observations" in page.text
    assert "≥ 1\u202f000\u202ftok/s" in page.text
    assert "nothing reports" in page.text or "0 of 1 devices ran on gpu" in page.text
    assert "n &lt; 20" in page.text
    assert "not as asked" in page.text
    assert "style=" not in page.text
    for part in ("head", "tiles", "use", "classes", "empty"):
        fragment = client.get(f"{PAGE}?part={part}")
        assert fragment.status_code == 200
        assert "<html" not in fragment.text


@pytest.mark.parametrize("window", ["15m", "1h", "6h", "24h", "48h", "7d", "nonsense"])
def test_one_request_brings_every_chart_of_a_dashboard_in_every_window(
    client: Any, reporting: datetime, window: str
) -> None:
    for key, address in DASHBOARDS.items():
        figures = client.get(f"/demo/{address}/charts.json?window={window}").json()
        assert set(figures) == {panel.name for panel in BOARDS[key].panels}
        for figure in figures.values():
            assert figure.get("empty") or figure["data"]
            if "data" in figure:
                assert Figure(themed(figure), skip_invalid=False).data
            for trace in figure.get("data", ()):
                assert trace["dx"] > 0
                assert len(trace["y"]) > 1
    figures = client.get(f"{PAGE}/charts.json?window={window}").json()
    drawn = {name for name, figure in figures.items() if "data" in figure}
    assert drawn == {"prefill-cpu", "decode", "latency", "memory", "memory-peak", "switches"}
    assert all(figures[name]["sentence"] and figures[name]["data_at"] for name in drawn)


def test_a_dashboard_opens_in_the_same_queries_however_much_was_reported(
    client: Any, reporting: datetime, django_assert_max_num_queries: Any
) -> None:
    for address in DASHBOARDS.values():
        with django_assert_max_num_queries(48):
            assert client.get(f"/demo/{address}?window=48h").status_code == 200
        with django_assert_max_num_queries(36):
            client.get(f"/demo/{address}/charts.json?window=48h")


def test_throughput_has_median_guaranteed_percentile_and_target(client: Any, reporting: datetime) -> None:
    figure = client.get(f"{PAGE}/charts/prefill-cpu.json").json()
    lines = {trace["name"]: trace["y"] for trace in figure["data"] if trace["name"]}
    assert set(lines) == {"p50", "p5, 95 % reach it"}
    assert known(lines["p5, 95 % reach it"])[-1] == pytest.approx(30_000, rel=0.011)
    assert any(shape["y0"] == 1_000 for shape in figure["layout"]["shapes"])
    assert not figure["missed"]


def test_the_growing_bucket_is_on_the_chart(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    stored(metrics.PREFILL, [30_000.0], now)
    figure = client.get(f"{PAGE}/charts/prefill-cpu.json").json()
    (line,) = [trace for trace in figure["data"] if trace["name"] == "p50"]
    assert line["y"][-1] == pytest.approx(30_000, rel=0.011) or line["y"][-2] == pytest.approx(30_000, rel=0.011)
    assert "markers" in line["mode"]


def test_every_flag_change_is_a_lettered_mark(client: Any, reporting: datetime) -> None:
    with change(actor=Actor.rule("test"), environment="demo", reason="Stability issues") as this:
        this.record("flag.killed", subject="flag:litert_enabled", before={}, after={})
        this.record(
            "flag.percentage_set",
            subject="flag:litert_gpu_backend",
            before={"percentage": 5.0},
            after={"percentage": 25.0},
        )
        this.record("key.created", subject="key:1")
    with change(actor=Actor.rule("test"), environment="production") as this:
        this.record("flag.killed", subject="flag:litert_enabled")
    marks = client.get("/demo/monitoring/throughput.json").json()["marks"]
    assert [mark["letter"] for mark in marks] == ["A", "B"]
    assert marks[0]["text"] == "LiteRT killed, cloud fallback forced on, the rule test: Stability issues"
    assert marks[1]["text"].startswith("litert_gpu_backend 5\u202f% to 25\u202f%")
    assert marks[0]["url"].startswith("/demo/history/")
    assert "LiteRT killed" in client.get(PAGE).text


def test_a_mark_says_what_a_person_would_say_of_who_did_what(client: Any) -> None:
    with change(actor=Actor.system("up"), environment="demo", reason="Installation") as this:
        this.record("flag.created", subject="flags:demo", after={})
        this.record("release.created", subject="release:1", after={"name": "Autumn"})
    with change(actor=Actor("person:1", "olga"), environment="demo", reason="Ours") as this:
        this.record("criterion.created", subject="criterion:gpu-decode", after={})
    marks = client.get("/demo/monitoring/throughput.json").json()["marks"]
    assert [mark["text"] for mark in marks] == [
        "Flags created, by the installation",
        "Release Autumn created, by the installation",
        "Criterion gpu-decode created, olga: Ours",
    ]


def test_a_storm_of_alerts_leaves_the_change_its_letter(client: Any) -> None:
    with change(actor=Actor.rule("test"), environment="demo") as this:
        this.record("flag.killed", subject="flag:litert_enabled", before={}, after={})
        for number in range(40):
            this.record(
                "alert.fired",
                subject=f"alert:{number}",
                after={"title": f"Latency {number}"},
                reason="9 s, wanted < 5 s",
            )
    marks = client.get("/demo/monitoring/throughput.json").json()["marks"]
    assert len(marks) == 26
    assert marks[0]["text"].startswith("LiteRT killed")
    assert marks[-1]["text"] == "Alert fired: Latency 39. 9 s, wanted < 5 s"


def test_simulated_devices_are_marked_and_dotted(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("s1", now, device_class="snapdragon-8-gen3", simulated=True)
    for moment in steps(now, 30):
        stored(metrics.PREFILL, [250.0], moment, device_class="snapdragon-8-gen3", simulated=True)
    page = client.get(PAGE)
    assert "simulated" in page.text
    figure = client.get(f"{PAGE}/charts/prefill-cpu.json?devices=simulated").json()
    assert all("simulated" in trace["name"] for trace in figure["data"])
    assert {trace["line"]["dash"] for trace in figure["data"]} == {"1px,3px"}
    assert any(shape["y0"] == 243 for shape in figure["layout"]["shapes"])


def test_real_devices_are_shown_first_and_simulated_ones_left_out(client: Any, reporting: datetime) -> None:
    seen("s1", reporting, device_class="tensor-g4", simulated=True)
    stored(metrics.PREFILL, [250.0], reporting, device_class="tensor-g4", simulated=True)
    page = client.get(PAGE)
    assert "1 left out" in page.text
    assert "Simulated devices" in page.text
    figure = client.get("/demo/monitoring/throughput.json").json()
    assert not any("simulated" in trace["name"] for trace in figure["data"])


def test_a_device_that_fails_alone_says_what_alerts_judge_and_why_none_fires(client: Any, reporting: datetime) -> None:
    stored(metrics.SWITCHES, [1.0] * 40, reporting - timedelta(minutes=2))
    alone = client.get(PAGE).text
    assert "alerts look at all" not in alone
    assert "Alerts look at" not in alone
    for number in range(9):
        seen(f"s{number}", reporting, device_class="tensor-g4", simulated=True)
    beside = client.get(PAGE).text
    assert "alerts look at all 10 that count in demo" in beside
    assert "Alerts look at all devices that it names, and there it passes: 4, wanted ≤ 10; " in beside
    assert not alerts_evaluate(environments=["demo"]), "and so it is: no alert begins"
    simulated = client.get(f"{PAGE}?devices=simulated").text
    assert "alerts look at all 10 that count in demo" in simulated
    row = StoredCriterion.objects.get(key="alert-switches")
    criterion_save(
        document={**row.document, "paused": True},
        actor=Actor.system("test"),
        reason="x",
        expected_revision=row.revision,
    )
    assert "Paused, it alerts nobody." in client.get(PAGE).text


def test_a_tile_says_its_value_and_its_age_once(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    stored(metrics.OPERATION, [0.5] * 3, now - timedelta(minutes=1))
    stored(metrics.FALLBACK, [0.5] * 40, now - timedelta(minutes=50), actual="cloud")
    page = BoardPage("demo", BOARDS["production"], window="", devices="", cohort="", until="")
    tiles = {tile.key: tile for tile in page.tiles}
    few, gone = tiles["alert-latency"], tiles["alert-fallback"]
    assert (few.verdict, few.figure, few.unit) == (Verdict.INSUFFICIENT, "500", "ms")
    assert few.detail == "3 observations, 30 needed"
    assert few.rule == "alert < 5\u202fs, p95 over 5\u202fmin"
    assert (gone.verdict, gone.detail, gone.at) == (Verdict.STALE, "no data for 50\u202fmin", None)


def test_other_environments_see_nothing_of_it(client: Any, reporting: datetime) -> None:
    assert "No device has reported in staging" in client.get("/staging/monitoring/litert").text


def test_unknown_charts_and_strangers(client: Any, client_as: Callable[[object], Any], person: Any) -> None:
    assert client.get(f"{PAGE}/charts/abacus.json").status_code == 404
    assert client.get("/nowhere/monitoring/litert").status_code == 404
    assert client.post(PAGE).status_code == 405
    nobody = client_as(person("nobody"))
    assert nobody.get("/demo/monitoring/litert").status_code in (200, 403)


def test_a_last_window_long_ago_is_no_data_in_the_short_one(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    stored(metrics.PREFILL, [30_000.0], now - timedelta(hours=2))
    assert client.get(f"{PAGE}/charts/prefill-cpu.json?window=15m").json()["empty"]
    assert client.get(f"{PAGE}/charts/prefill-cpu.json?window=6h").json()["data"]
    assert "synthetic-host cpu: no data for 120\u202fmin" in client.get(PAGE).text, (
        "it ran within the day: still in scope"
    )


def test_treatment_and_control_are_lines_of_their_own_and_a_cohort(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.OPERATION, [0.5], moment, variant="on")
        stored(metrics.OPERATION, [1.5], moment, actual="cloud", variant="safe")
        stored("app.tasks.started", [10.0], moment, actual="", variant="on")
        stored("app.tasks.completed", [9.0], moment, actual="", variant="on")
        stored("app.tasks.started", [10.0], moment, actual="", variant="safe")
        stored("app.tasks.completed", [10.0], moment, actual="", variant="safe")
    page = "/demo/monitoring/production"
    latency = client.get(f"{page}/charts/latency.json").json()
    assert {trace["name"] for trace in latency["data"]} == {
        "treatment p50",
        "treatment p95",
        "control p50",
        "control p95",
    }
    tasks = client.get("/demo/analytics/production/charts/tasks.json").json()
    last = {trace["name"]: known(trace["y"])[-1] for trace in tasks["data"]}
    assert last == {"treatment": 90.0, "control": 100.0}
    assert tasks["missed"]
    assert any(shape["y0"] == 95 for shape in tasks["layout"]["shapes"])
    control = client.get(f"{page}/charts/latency.json?cohort=control").json()
    assert "1.5" in control["sentence"]
    assert "treatment" not in control["sentence"]
    assert (
        'href="?window=15m&amp;devices=real&amp;cohort=control" aria-current="true"'
        in client.get(f"{page}?cohort=control").text
    )


def test_a_step_in_which_more_tasks_ended_than_began_is_all_of_them_and_never_more(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored("app.tasks.started", [10.0], moment, actual="")
        stored("app.tasks.completed", [11.0], moment, actual="")
    tasks = client.get("/demo/analytics/production/charts/tasks.json").json()
    assert set(known(tasks["data"][0]["y"])) == {100.0}
    assert "all 100\u202f% of" in tasks["sentence"]


def test_burst_and_sustained_throughput_stand_apart(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.PREFILL, [400.0], moment, outcome="burst")
        stored(metrics.PREFILL, [300.0], moment, outcome="sustained")
    figure = client.get(f"{PAGE}/charts/burst-cpu.json").json()
    last = {trace["name"]: known(trace["y"])[-1] for trace in figure["data"]}
    assert last["burst p5"] == pytest.approx(400, rel=0.011)
    assert last["sustained p5"] == pytest.approx(300, rel=0.011)
    assert set(last) == {"burst p5", "burst p50", "sustained p5", "sustained p50"}
    assert client.get(f"{PAGE}/charts/burst-gpu.json").json()["empty"]


def test_a_burst_is_judged_by_its_own_criterion_as_soon_as_there_is_one(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.PREFILL, [1_400.0, 1_410.0], moment, outcome="burst")
    assert not client.get(f"{PAGE}/charts/burst-cpu.json").json()["missed"]
    document = StoredCriterion.objects.get(key="alert-cpu-throughput").document
    burst = {
        **document,
        "key": "alert-cpu-burst",
        "title": "CPU burst",
        "outcomes": ["burst"],
        "threshold": "1500 tok/s",
    }
    criterion_save(document=burst, actor=Actor.rule("test"), reason="Apart")
    figure = client.get(f"{PAGE}/charts/burst-cpu.json").json()
    assert figure["missed"]
    assert [shape["y0"] for shape in figure["layout"]["shapes"] if shape["name"] == "target"] == [1_500]
    assert "/demo/criteria/alert-cpu-burst" in client.get(PAGE).text


def test_the_numbers_can_be_taken_along(client: Any, reporting: datetime) -> None:
    answer = client.get(f"{PAGE}/numbers.csv?window=15m")
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    cpu = [row for row in rows if row["chart"] == "prefill-cpu" and row["line"] == "p50"]
    assert len(cpu) == 20
    assert float(cpu[0]["value"]) == pytest.approx(31_000, rel=0.05)
    assert datetime.fromisoformat(cpu[0]["time"]) <= reporting
    told = client.get(f"{PAGE}/numbers.json?window=15m").json()
    assert len(told["points"]) == sum(row["kind"] == "point" for row in rows)
    verdicts = {one["criterion"]: one["verdict"] for one in told["criteria"]}
    assert verdicts["alert-cpu-throughput"] == "PASS"


def cells(client: Any, device_class: str, query: str = "") -> dict[str, str]:
    """Return the tint of each cell of a device class by the title of its criterion."""
    table = client.get(f"{PAGE}?part=classes&{query}").text
    titles = re.findall(r'href="[^"]*/criteria/([^"]+)"', table)
    row = table[table.index(f">{device_class}<") :].partition("</tr>")[0]
    return dict(zip(titles, re.findall(r'class="num cell (\w*)"', row), strict=True))


def test_a_cell_is_green_for_the_devices_behind_it_not_for_those_of_its_class(client: Any, reporting: datetime) -> None:
    for number in range(25):
        name = f"big-{number}"
        variant = "on" if number < 21 else "safe"
        seen(name, reporting, device_class="snapdragon-8-gen3", variant=variant)
        ran = [(metrics.PREFILL, "cpu"), (metrics.INFERENCES, "cpu"), *([(metrics.PREFILL, "npu")] * (number < 3))]
        for metric, actual in ran:
            in_panel(name, metric, reporting, device_class="snapdragon-8-gen3", actual=actual, variant=variant)
    for moment in steps(reporting, 20):
        for variant in ("on", "safe"):
            stored(metrics.PREFILL, [260.0, 270.0], moment, device_class="snapdragon-8-gen3", variant=variant)
            stored(metrics.INFERENCES, [1.0], moment, device_class="snapdragon-8-gen3", variant=variant)
        stored(metrics.PREFILL, [6_000.0] * 2, moment, device_class="snapdragon-8-gen3", actual="npu")
    found = cells(client, "snapdragon-8-gen3")
    assert found["alert-cpu-throughput"] == "pass"
    assert found["alert-npu-throughput"] == "small"  # three devices of twenty-five have one
    assert found["alert-switches"] == "pass"
    control = cells(client, "snapdragon-8-gen3", "cohort=control")
    assert control["alert-cpu-throughput"] == "small"
    assert control["alert-switches"] == "small"
    treatment = cells(client, "snapdragon-8-gen3", "cohort=treatment")
    assert treatment["alert-cpu-throughput"] == "pass"
    small = cells(client, "synthetic-host")
    assert small["alert-cpu-throughput"] == "small"


def test_every_chart_says_its_sample_and_the_age_of_its_data(client: Any, reporting: datetime) -> None:
    figures = client.get(f"{PAGE}/charts.json").json()
    foot = figures["prefill-cpu"]["foot"]
    assert foot["sample"] == "40 observations"
    assert 0 <= foot["age"] < 30
    assert foot["due"] == 120
    assert figures["latency"]["foot"]["sample"] == "20 observations"
    assert figures["decode"]["foot"]["note"] == "no absolute target"
    assert figures["latency"]["foot"]["note"] == ""
    for name, figure in figures.items():
        assert "data" not in figure or figure["foot"]["sample"], name
    table = client.get(f"{PAGE}/charts/prefill-cpu")
    assert "40 observations" in table.text
    assert "As of" in table.text
    assert table.text.count("<tr>") == 21


def test_a_chart_is_missed_when_its_criterion_fails_and_not_by_a_single_step(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    stored(metrics.OPERATION, [60.0], now)
    figure = client.get(f"{PAGE}/charts/latency.json").json()
    assert figure["data"]
    assert not figure["missed"]  # one of thirty observations: the tile says INSUFFICIENT
    for moment in steps(now, 20):
        stored(metrics.OPERATION, [60.0, 61.0], moment, actual="cloud")
    assert not client.get(f"{PAGE}/charts/latency.json").json()["missed"]
    for moment in steps(now, 20):
        stored(metrics.OPERATION, [60.0, 61.0], moment)
    assert client.get(f"{PAGE}/charts/latency.json").json()["missed"]


def test_a_chart_draws_what_its_criterion_judges_and_control_beside_it(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.OPERATION, [0.5], moment, variant="on")
        stored(metrics.OPERATION, [9.0], moment, variant="on", actual="cloud")
        stored(metrics.OPERATION, [1.5], moment, variant="safe", actual="cloud")
    production = "/demo/monitoring/production/charts"
    last = {one["name"]: known(one["y"])[-1] for one in client.get(f"{production}/latency.json").json()["data"]}
    assert last["treatment p95"] == pytest.approx(0.5, rel=0.02)
    assert last["control p95"] == pytest.approx(1.5, rel=0.02)
    improvement = client.get(f"{PAGE}/charts/improvement.json").json()
    assert known(improvement["data"][0]["y"])[-1] == pytest.approx(1.5 / 0.5, rel=0.3)
    assert "control p50" in improvement["sentence"]


def test_memory_has_a_judgement_for_each_limit_and_far_ones_stand_at_the_edge(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.MEMORY, [4e8, 4e8], moment)
        stored(metrics.MEMORY_PEAK, [5e8, 2.2e9], moment)
    figures = client.get(f"{PAGE}/charts.json").json()
    assert not figures["memory"]["missed"]
    assert not any(shape["name"] == "target" for shape in figures["memory"]["layout"]["shapes"])
    edge = [note for note in figures["memory"]["layout"]["annotations"] if note["name"] == "target"]
    assert [(note["text"], note["yref"]) for note in edge] == [("target 1.80\u202fGB ↑", "paper")]
    peak = figures["memory-peak"]
    assert peak["missed"]
    lines = {note["text"]: note["font"]["color"] for note in peak["layout"]["annotations"] if note["name"] == "target"}
    assert lines == {"alert 1.80\u202fGB": "mark", "gate 2.00\u202fGB": "target"}
    assert {trace["name"] for trace in peak["data"]} == {"p50", "highest"}


def test_an_empty_chart_knows_the_changes_too(client: Any) -> None:
    stored(metrics.PREFILL, [250.0], datetime.now(tz=UTC) - timedelta(hours=2))
    document = StoredCriterion.objects.get(key="alert-latency").document
    criterion_save(
        document={**document, "threshold": "4000 ms"}, actor=Actor.rule("test"), reason="Tighter", expected_revision=1
    )
    figure = client.get(f"{PAGE}/charts/prefill-cpu.json").json()
    assert figure["empty"]
    assert [mark["text"] for mark in figure["marks"]] == [
        "alert-latency: threshold 5000 ms to 4000 ms, the rule test: Tighter"
    ]
    assert figure["foot"]["age"] == pytest.approx(7_200, abs=60)
    assert "foot" not in client.get(f"{PAGE}/charts/prefill-gpu.json").json()
    assert "alert p95 &lt; 4" in client.get(PAGE).text.lower()


@pytest.mark.parametrize(("window", "promised"), [("15m", "5"), ("48h", "10"), ("7d", "19")])
def test_what_an_empty_chart_promises_is_true_for_its_window(client: Any, window: str, promised: str) -> None:
    figure = client.get(f"{PAGE}/charts/decode.json?window={window}").json()
    assert f"within {promised}\u202fs" in figure["brings"]


def test_security_counts_over_the_criterions_window_with_its_limit(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 30):
        stored(metrics.INFERENCES, [1.0], moment)
    stored("litert.model.validations", [3.0], now - timedelta(minutes=40), outcome="failed", actual="")
    stored("litert.model.validations", [3.0], now, outcome="failed", actual="")
    figures = client.get("/demo/security/production/charts.json?window=15m").json()
    validations = figures["validations"]
    assert known(validations["data"][0]["y"])[-1] == 6
    assert validations["missed"]
    assert any(shape["y0"] == 5 for shape in validations["layout"]["shapes"])
    assert known(figures["encryption"]["data"][0]["y"])[-1] == 0
    assert not figures["encryption"]["missed"]
    audit = figures["audit"]
    assert any(shape["y0"] == 60 for shape in audit["layout"]["shapes"])
    assert known(audit["data"][0]["y"])
    page = client.get("/demo/security/production").text
    assert "Audit log gaps" in page
    assert "/demo/monitoring/patterns" in page


def test_a_declared_metric_gets_a_chart(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 5):
        stored("business.orders.value", [10.0, 30.0], moment, variant="on")
    figures = client.get("/demo/analytics/production/charts.json").json()
    figure = figures["business-orders-value-1"]
    assert {trace["name"] for trace in figure["data"]} == {"treatment p50", "treatment mean"}
    assert "Orders value" in client.get("/demo/analytics/production").text


def test_a_window_that_ended_shows_what_was_then(client: Any) -> None:
    now = datetime.now(tz=UTC)
    then = now - timedelta(days=2)
    seen("dev-1", then)
    seen("dev-2", now)
    for moment in steps(then, 20, seconds=60):
        stored(metrics.OPERATION, [60.0] * 6, moment, width=60)
    stored(metrics.OPERATION, [0.1] * 40, now)
    until = then.strftime("%Y-%m-%dT%H:%M:%SZ")
    page = client.get(f"{PAGE}?until={until}").text
    assert "Ended at" in page
    assert "hx-trigger" not in page.partition("<main")[2].partition("</main")[0]
    assert "data-topics" not in page
    assert f"until={until.replace(':', '%3A')}" in page
    figure = client.get(f"{PAGE}/charts/latency.json?until={until}").json()
    assert figure["foot"]["age"] is None
    assert known(figure["data"][0]["y"])[-1] == pytest.approx(60, rel=0.011)
    assert figure["data"][0]["dx"] == 60_000  # minutes are what is kept of that time
    assert figure["missed"]
    for wish in ("tomorrow", "2999-01-01T00:00"):
        assert "Ended at" not in client.get(f"{PAGE}?until={wish}").text


def test_exports_carry_base_units_and_no_formula(client: Any) -> None:
    now = datetime.now(tz=UTC)
    device_class = '=HYPERLINK("http://example.org")'
    seen("dev-1", now, device_class=device_class)
    value = 0.123456789
    stored(metrics.OPERATION, [value], now, device_class=device_class)
    stored("security.suspicious_events", [1.0], now, outcome="@SUM(A1)", actual="")
    rows = list(csv.DictReader(io.StringIO(client.get("/demo/security/production/numbers.csv").text)))
    assert {row["line"][0] for row in rows if row["chart"] == "suspicious-kinds"} == {"'"}
    rows = list(csv.DictReader(io.StringIO(client.get("/demo/monitoring/production/numbers.csv").text)))
    (latency,) = [row for row in rows if row["chart"] == "latency" and row["line"] == "p50"]
    assert (float(latency["value"]), latency["unit"]) == (value, "s")
    assert {row["kind"] for row in rows} == {"point", "criterion", "device class"}
    assert all(row["line"].startswith("'=") for row in rows if row["kind"] == "device class")
    assert {row["chart"] for row in rows if row["kind"] == "criterion"} == set(BOARDS["production"].tiles)
