"""Addresses of monitoring."""

from django.urls import path

from monitoring.views import dashboards, devices

app_name = "monitoring"
urlpatterns = [
    path("monitoring/litert", dashboards.litert, name="litert"),
    path("monitoring/litert/charts/<slug:name>.json", dashboards.chart, name="chart"),
    path("monitoring/connect", devices.connect, name="connect"),
    path("monitoring/understood", devices.understood, name="understood"),
    path("monitoring/understood/device", devices.device, name="device"),
]
