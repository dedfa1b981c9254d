"""All addresses of the console. The environment is the first segment of every page's URL."""

from django.urls import include, path

from hawkops import api, views
from incidents.views import incidents

handler404, handler500 = api.not_found, api.broken

urlpatterns = [
    path("", views.root, name="root"),
    path("healthz", views.healthz, name="healthz"),
    path("api/v1", api.nothing, name="api_nothing"),
    path("api/v1/", include(api.urlpatterns)),
    path("status/<str:secret>", incidents.incident_status, name="incident_status"),
    path("", include("hawkops.accounts.urls")),
    path("<str:environment>/", views.overview, name="overview"),
    path("<str:environment>/api", api.page, name="api_page"),
    path("<str:environment>/platform", views.platform, name="platform"),
    path("<str:environment>/platform/retention", views.retention, name="retention"),
    path("<str:environment>/strip", views.strip, name="strip"),
    path("<str:environment>/", include("hawkops.compliance.urls")),
    path("<str:environment>/", include("hawkops.history.urls")),
    path("<str:environment>/", include("hawkops.scripts.urls")),
    path("<str:environment>/", include("monitoring.urls")),
    path("<str:environment>/", include("rollout.urls")),
    path("<str:environment>/", include("incidents.urls")),
]
