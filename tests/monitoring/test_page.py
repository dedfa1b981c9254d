"""The dashboards and their charts over HTTP: numbers, marks, empty states, simulated devices, bad wishes."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring.charts.boards import BOARDS
from monitoring.domain import metrics
from monitoring.services.criteria import criteria_seed
from monitoring.urls import DASHBOARDS
from tests.monitoring.rows import seen, steps, stored

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
            for trace in figure.get("data", ()):
                assert trace["dx"] > 0
                assert len(trace["y"]) > 1
    figures = client.get(f"{PAGE}/charts.json?window={window}").json()
    drawn = {name for name, figure in figures.items() if "data" in figure}
    assert drawn == {"prefill-cpu", "decode", "latency", "memory", "switches"}
    assert all(figures[name]["sentence"] and figures[name]["data_at"] for name in drawn)


def test_a_dashboard_opens_in_the_same_queries_however_much_was_reported(
    client: Any, reporting: datetime, django_assert_max_num_queries: Any
) -> None:
    for address in DASHBOARDS.values():
        with django_assert_max_num_queries(48):
            assert client.get(f"/demo/{address}?window=48h").status_code == 200
        with django_assert_max_num_queries(16):
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
    assert marks[0]["text"] == "LiteRT killed, cloud fallback forced on, test: Stability issues"
    assert marks[1]["text"].startswith("litert_gpu_backend 5\u202f% to 25\u202f%")
    assert marks[0]["url"].startswith("/demo/history/")
    assert "LiteRT killed" in client.get(PAGE).text


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


def test_burst_and_sustained_throughput_stand_apart(client: Any) -> None:
    now = datetime.now(tz=UTC)
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.PREFILL, [400.0], moment, outcome="burst")
        stored(metrics.PREFILL, [300.0], moment, outcome="sustained")
    figure = client.get(f"{PAGE}/charts/burst.json").json()
    last = {trace["name"]: known(trace["y"])[-1] for trace in figure["data"]}
    assert last["burst p5"] == pytest.approx(400, rel=0.011)
    assert last["sustained p5"] == pytest.approx(300, rel=0.011)


def test_the_numbers_can_be_taken_along(client: Any, reporting: datetime) -> None:
    answer = client.get(f"{PAGE}/numbers.csv?window=15m")
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    cpu = [row for row in rows if row["chart"] == "prefill-cpu" and row["line"] == "p50"]
    assert len(cpu) == 20
    assert float(cpu[0]["value"]) == pytest.approx(31_000, rel=0.05)
    assert datetime.fromisoformat(cpu[0]["time"]) <= reporting
    told = client.get(f"{PAGE}/numbers.json?window=15m").json()
    assert len(told["points"]) == len(rows)
    verdicts = {one["criterion"]: one["verdict"] for one in told["criteria"]}
    assert verdicts["alert-cpu-throughput"] == "PASS"


def test_a_small_class_is_never_green_and_a_large_one_is(client: Any, reporting: datetime) -> None:
    for number in range(25):
        seen(f"big-{number}", reporting, device_class="snapdragon-8-gen3")
    for moment in steps(reporting, 20):
        stored(metrics.PREFILL, [260.0, 270.0], moment, device_class="snapdragon-8-gen3")
    table = client.get(f"{PAGE}?part=classes").text
    large = table[table.index("snapdragon-8-gen3") :].partition("</tr>")[0]
    assert 'class="num cell pass"' in large
    small = table[table.index("synthetic-host") :].partition("</tr>")[0]
    assert 'class="num cell pass"' not in small
    assert 'class="num cell small"' in small
