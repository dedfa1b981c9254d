"""Emergency pages; they are served by threads of their own (see `hawkops.asgi`)."""

from django.urls import path

from incidents.views import emergency

app_name = "incidents"
urlpatterns = [
    path("emergency", emergency.emergency, name="emergency"),
    path("emergency/kill", emergency.kill, name="kill"),
    path("emergency/disable", emergency.disable, name="disable"),
    path("emergency/enable", emergency.enable, name="enable"),
]
