"""Addresses of monitoring."""

from django.urls import path

from monitoring import views

app_name = "monitoring"
urlpatterns = [
    path("monitoring/litert", views.litert, name="litert"),
    path("monitoring/litert/charts/<slug:name>.json", views.chart, name="chart"),
]
