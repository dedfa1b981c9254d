"""Pages of the history."""

from django.urls import path

from hawkops.history import views

app_name = "history"
urlpatterns = [
    path("history", views.entries, name="entries"),
    path("history/verify", views.verify, name="verify"),
    path("history/<int:seq>", views.entry, name="entry"),
]
