"""Pages of the history."""

from django.urls import path

from hawkops.history import downloads, subjects, views

app_name = "history"
urlpatterns = [
    path("history", views.entries, name="entries"),
    path("history.csv", downloads.csv_file, name="csv"),
    path("history.jsonl", downloads.jsonl_file, name="jsonl"),
    path("history.proven.jsonl", downloads.proven_file, name="proven"),
    path("history/verify", views.verify, name="verify"),
    path("history/at", subjects.at_a_time, name="at_a_time"),
    path("history/<int:seq>", views.entry, name="entry"),
    path("history/subject/<path:subject>", subjects.subject, name="subject"),
]
