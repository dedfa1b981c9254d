"""The LiteRT page and its charts over HTTP: numbers, marks, empty states, simulated devices, bad wishes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring.charts.litert import CHARTS
from monitoring.domain import metrics
from tests.monitoring.rows import seen, steps, stored

pytestmark = pytest.mark.django_db
PAGE = "/demo/monitoring/litert"


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
    assert "40 samples" in page.text
    assert "target 1\u202f000" in page.text
    assert "no device has run on the GPU" in page.text
    assert "not as asked" in page.text
    assert "style=" not in page.text
    for part in ("head", "tiles", "use", "classes", "empty"):
        fragment = client.get(f"{PAGE}?part={part}")
        assert fragment.status_code == 200
        assert "<html" not in fragment.text


@pytest.mark.parametrize("window", ["15m", "1h", "6h", "24h", "nonsense"])
def test_every_chart_draws_in_every_window(client: Any, reporting: datetime, window: str) -> None:
    for name in CHARTS:
        if name in ("prefill-gpu", "prefill-npu"):
            continue
        figure = client.get(f"{PAGE}/charts/{name}.json?window={window}").json()
        assert figure["data"], name
        assert figure["sentence"]
        assert figure["data_at"]
        for trace in figure["data"]:
            assert len(trace["x"]) == len(trace["y"])


def test_throughput_has_median_guaranteed_percentile_and_target(client: Any, reporting: datetime) -> None:
    figure = client.get(f"{PAGE}/charts/prefill-cpu.json").json()
    lines = {trace["name"]: trace["y"] for trace in figure["data"] if trace["name"]}
    assert set(lines) == {"p50", "p5, 95 % reach it"}
    assert lines["p5, 95 % reach it"][-1] == pytest.approx(30_000, rel=0.011)
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
    marks = client.get(f"{PAGE}/charts/prefill.json").json()["marks"]
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
    figure = client.get(f"{PAGE}/charts/prefill.json").json()
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
    assert "STALE" in client.get(PAGE).text
