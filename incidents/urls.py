"""Emergency pages; they are served by threads of their own (see `hawkops.asgi`)."""

from django.urls import path

from incidents import views

app_name = "incidents"
urlpatterns = [
    path("emergency", views.emergency, name="emergency"),
    path("emergency/kill", views.kill, name="kill"),
    path("emergency/disable", views.disable, name="disable"),
    path("emergency/enable", views.enable, name="enable"),
]
