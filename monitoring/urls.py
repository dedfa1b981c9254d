"""Addresses of monitoring."""

from django.urls import path

from monitoring.views import alerts, criteria, dashboards, devices, health, patterns

app_name = "monitoring"
urlpatterns = [
    path("monitoring/litert", dashboards.litert, name="litert"),
    path("monitoring/litert/charts/<slug:name>.json", dashboards.chart, name="chart"),
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
    path("alerts/alertmanager", alerts.alertmanager, name="alertmanager"),
    path("silences", alerts.silence, name="silence"),
    path("silences/<int:pk>/end", alerts.silence_end, name="silence_end"),
    path("criteria", criteria.criteria, name="criteria"),
    path("criteria.yaml", criteria.export, name="criteria_export"),
    path("criteria/<slug:key>", criteria.criterion, name="criterion"),
    path("criteria/<slug:key>/reset", criteria.reset, name="criterion_reset"),
    path("monitoring/connect", devices.connect, name="connect"),
    path("monitoring/understood", devices.understood, name="understood"),
    path("monitoring/understood/device", devices.device, name="device"),
]
