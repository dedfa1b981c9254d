"""Addresses of incidents. Emergency pages are served by threads of their own (see `hawkops.asgi`)."""

from django.urls import path

from incidents.views import emergency, notifications

app_name = "incidents"
urlpatterns = [
    path("emergency", emergency.emergency, name="emergency"),
    path("emergency/kill", emergency.kill, name="kill"),
    path("emergency/disable", emergency.disable, name="disable"),
    path("emergency/enable", emergency.enable, name="enable"),
    path("notifications", notifications.notifications, name="notifications"),
    path("notifications/new", notifications.channel_new, name="channel_new"),
    path("notifications/create", notifications.channel_create, name="channel_create"),
    path("notifications/routes", notifications.routes, name="routes"),
    path("notifications/routes/save", notifications.routes_save, name="routes_save"),
    path("notifications/acknowledge", notifications.acknowledge, name="acknowledge"),
    path("notifications/acknowledge/press", notifications.acknowledge_press, name="acknowledge_press"),
    path("notifications/channels/<int:pk>", notifications.channel, name="channel"),
    path("notifications/channels/<int:pk>/change", notifications.channel_change, name="channel_change"),
    path("notifications/channels/<int:pk>/test", notifications.channel_test, name="channel_test"),
    path("notifications/channels/<int:pk>/archive", notifications.channel_archive, name="channel_archive"),
    path("notifications/channels/<int:pk>/pagerduty", notifications.pagerduty, name="pagerduty"),
    path("notifications/deliveries/<int:pk>", notifications.delivery, name="delivery"),
    path("notifications/deliveries/<int:pk>/retry", notifications.delivery_retry, name="delivery_retry"),
]
