"""Addresses of incidents. Emergency pages are served by threads of their own (see `hawkops.asgi`)."""

from django.urls import path

from incidents.views import emergency, incidents, notifications, reviews

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
    path("incidents", incidents.incidents, name="incidents"),
    path("incidents/new", incidents.incident_new, name="incident_new"),
    path("incidents/create", incidents.incident_create, name="incident_create"),
    path("incidents/<int:pk>", incidents.incident, name="incident"),
    path("incidents/<int:pk>/move", incidents.incident_move, name="incident_move"),
    path("incidents/<int:pk>/severity", incidents.incident_severity, name="incident_severity"),
    path("incidents/<int:pk>/roles", incidents.incident_role, name="incident_role"),
    path("incidents/<int:pk>/notes", incidents.incident_note, name="incident_note"),
    path("incidents/<int:pk>/tasks", incidents.incident_task, name="incident_task"),
    path("incidents/<int:pk>/merge", incidents.incident_merge, name="incident_merge"),
    path("incidents/<int:pk>/releases", incidents.incident_release, name="incident_release"),
    path("incidents/<int:pk>/links", incidents.incident_link, name="incident_link"),
    path("incidents/<int:pk>/review", reviews.review, name="incident_review"),
    path("incidents/<int:pk>/review/draft", reviews.review_draft, name="incident_review_draft"),
    path("incidents/<int:pk>/review/save", reviews.review_save, name="incident_review_save"),
    path("incidents/<int:pk>/review.html", reviews.review_html, name="incident_review_html"),
    path("incidents/<int:pk>/review.md", reviews.review_markdown, name="incident_review_markdown"),
    path("incidents/tasks/<int:pk>", incidents.incident_task_set, name="incident_task_set"),
    path("incidents/links/<int:pk>/revoke", incidents.incident_link_revoke, name="incident_link_revoke"),
]
