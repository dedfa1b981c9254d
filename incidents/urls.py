"""Addresses of incidents. Emergency pages are served by threads of their own (see `hawkops.asgi`)."""

from django.urls import path

from incidents.views import emergency, escalations, notifications, oncall

app_name = "incidents"
urlpatterns = [
    path("emergency", emergency.emergency, name="emergency"),
    path("emergency/kill", emergency.kill, name="kill"),
    path("emergency/disable", emergency.disable, name="disable"),
    path("emergency/enable", emergency.enable, name="enable"),
    path("oncall", oncall.oncall, name="oncall"),
    path("oncall/rotation", oncall.rotation, name="rotation"),
    path("oncall/rotation/save", oncall.rotation_save, name="rotation_save"),
    path("oncall/overrides/create", oncall.override_create, name="override_create"),
    path("oncall/overrides/<int:pk>/cancel", oncall.override_cancel, name="override_cancel"),
    path("oncall/swaps/propose", oncall.swap_propose, name="swap_propose"),
    path("oncall/swaps/<int:pk>/answer", oncall.swap_answer, name="swap_answer"),
    path("oncall/contacts/<str:role>", oncall.contact, name="contact"),
    path("oncall/contacts/<str:role>/save", oncall.contact_save, name="contact_save"),
    path("oncall/links/create", oncall.link_create, name="oncall_link_create"),
    path("oncall/links/<int:pk>/revoke", oncall.link_revoke, name="oncall_link_revoke"),
    path("oncall/feed/<str:token>.ics", oncall.feed, name="oncall_feed"),
    path("escalations", escalations.escalations, name="escalations"),
    path("escalations/check", escalations.check_start, name="escalation_check"),
    path("escalations/policy", escalations.policy, name="escalation_policy"),
    path("escalations/policy/<str:severity>/save", escalations.policy_save, name="escalation_policy_save"),
    path("escalations/hours/save", escalations.business_hours_save, name="business_hours_save"),
    path("escalations/<int:pk>", escalations.escalation, name="escalation"),
    path("escalations/<int:pk>/acknowledge", escalations.escalation_acknowledge, name="escalation_acknowledge"),
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
