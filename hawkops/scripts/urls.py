"""Pages of scripts and their runs."""

from django.urls import path

from hawkops.scripts import views
from hawkops.scripts.api import sessions as api

app_name = "scripts"
urlpatterns = [
    path("api/scripts", api.scripts, name="api_scripts"),
    path("api/runs", api.runs, name="api_runs"),
    path("api/runs/<int:pk>", api.run, name="api_run"),
    path("api/runs/<int:pk>/output", api.output, name="api_output"),
    path("api/series/<int:pk>", api.series, name="api_series"),
    path("api/runs/<int:pk>/cancel", api.cancel, name="api_cancel"),
    path("scripts", views.catalogue, name="catalogue"),
    path("scripts/writing", views.writing, name="writing"),
    path("scripts/<path:name>/trend/<str:measurement>.json", views.trend, name="trend"),
    path("scripts/<path:name>", views.script, name="script"),
    path("schedules/<int:pk>/stop", views.schedule_stop, name="schedule_stop"),
    path("runs/<int:pk>", views.run, name="run"),
    path("runs/<int:pk>/cancel", views.cancel, name="cancel"),
    path("runs/<int:pk>/result.json", views.document, name="document"),
    path("runs/<int:pk>/junit.xml", views.junit, name="junit"),
    path("series/<int:pk>/result.json", views.series_result, name="series_document"),
    path("series/<int:pk>/junit.xml", views.series_junit_file, name="series_junit"),
    path("runs/<int:pk>/output.txt", views.raw, name="raw"),
    path("runs/<int:pk>/files/<str:name>", views.file, name="file"),
]
