"""Addresses of monitoring."""

from django.urls import URLPattern, path

from monitoring.views import alerts, criteria, dashboards, devices, health, patterns, prometheus

app_name = "monitoring"
# the addresses that the runbook names
DASHBOARDS = {
    "production": "monitoring/production",
    "litert": "monitoring/litert",
    "analytics": "analytics/production",
    "security": "security/production",
}


def _dashboard(key: str, address: str) -> list[URLPattern]:
    """The page, its charts in one answer, one chart alone, and its numbers."""
    named = {"key": key}
    return [
        path(address, dashboards.board, named, name=key),
        path(f"{address}/charts.json", dashboards.board_charts, named, name=f"{key}_charts"),
        path(f"{address}/charts/<slug:name>.json", dashboards.chart, named, name=f"{key}_chart"),
        path(f"{address}/charts/<slug:name>", dashboards.chart_table, named, name=f"{key}_chart_table"),
        path(f"{address}/numbers.csv", dashboards.board_numbers, {**named, "form": "csv"}, name=f"{key}_csv"),
        path(f"{address}/numbers.json", dashboards.board_numbers, {**named, "form": "json"}, name=f"{key}_json"),
    ]


urlpatterns = [
    *(one for key, address in DASHBOARDS.items() for one in _dashboard(key, address)),
    path("monitoring/dashboards/links", dashboards.links, name="dashboard_links"),
    path("metrics", prometheus.metrics, name="metrics"),
    path("monitoring/throughput.json", dashboards.overview_chart, name="throughput_chart"),
    path("monitoring/health", health.health, name="health"),
    path("monitoring/health/<slug:key>/run", health.run, name="health_run"),
    path("monitoring/patterns", patterns.patterns, name="patterns"),
    path("monitoring/patterns/<slug:key>", patterns.pattern, name="pattern"),
    path("monitoring/patterns/<slug:key>/chart.json", patterns.chart, name="pattern_chart"),
    path("monitoring/patterns/<slug:key>/pause", patterns.pause, name="pattern_pause"),
    path("monitoring/patterns/<slug:key>/delete", patterns.delete, name="pattern_delete"),
    path("alerts", alerts.alerts, name="alerts"),
    path("alerts/<int:pk>", alerts.alert, name="alert"),
    path("alerts/<int:pk>/acknowledge", alerts.acknowledge, name="alert_acknowledge"),
    path("alerts/<int:pk>/close", alerts.close, name="alert_close"),
    path("alerts/alertmanager", alerts.alertmanager, name="alertmanager"),
    path("silences", alerts.silence, name="silence"),
    path("silences/<int:pk>/end", alerts.silence_end, name="silence_end"),
    path("criteria", criteria.criteria, name="criteria"),
    path("criteria.yaml", criteria.export, name="criteria_export"),
    path("criteria/new", criteria.criterion_new, name="criterion_new"),
    path("criteria/profiles/<slug:key>", criteria.profile, name="profile"),
    path("criteria/sections/<slug:key>", criteria.section, name="section"),
    path("criteria/<slug:key>", criteria.criterion, name="criterion"),
    path("criteria/<slug:key>/reset", criteria.reset, name="criterion_reset"),
    path("criteria/<slug:key>/delete", criteria.delete, name="criterion_delete"),
    path("monitoring/connect", devices.connect, name="connect"),
    path("monitoring/understood", devices.understood, name="understood"),
    path("monitoring/understood/device", devices.device, name="device"),
]
