"""Addresses of monitoring."""

from django.urls import path

from monitoring.views import dashboards

app_name = "monitoring"
urlpatterns = [
    path("monitoring/litert", dashboards.litert, name="litert"),
    path("monitoring/litert/charts/<slug:name>.json", dashboards.chart, name="chart"),
]
