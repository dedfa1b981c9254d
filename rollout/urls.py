"""Pages of flags, target groups and releases."""

from django.urls import path

from rollout.views import flags, groups, procedure, releases

app_name = "rollout"
urlpatterns = [
    path("flags", flags.flags, name="flags"),
    path("flags/<str:key>", flags.flag, name="flag"),
    path("flags/<str:key>/percentage", flags.percentage, name="flag_percentage"),
    path("flags/<str:key>/rules", flags.rules, name="flag_rules"),
    path("flags/<str:key>/override", flags.override, name="flag_override"),
    path("groups", groups.groups, name="groups"),
    path("groups/create", groups.create, name="group_create"),
    path("groups/<slug:key>", groups.group, name="group"),
    path("groups/<slug:key>.csv", groups.export, name="group_csv"),
    path("groups/<slug:key>/members", groups.members, name="group_members"),
    path("groups/<slug:key>/delete", groups.delete, name="group_delete"),
    path("releases", releases.releases, name="releases"),
    path("releases/create", releases.create, name="release_create"),
    path("releases/<int:pk>/procedure", procedure.procedure, name="procedure"),
    path("releases/<int:pk>/procedure/<str:step>/start", procedure.start, name="procedure_start"),
    path("releases/<int:pk>/procedure/<str:step>/attest", procedure.attest, name="procedure_attest"),
    path("releases/<int:pk>/procedure/<str:step>/flags", procedure.flags, name="procedure_flags"),
    path("releases/<int:pk>/procedure/<str:step>/drill", procedure.drill, name="procedure_drill"),
    path("releases/<int:pk>/procedure/<str:step>/skip", procedure.skip, name="procedure_skip"),
    path("releases/<int:pk>/procedure/<str:step>/skip/approve", procedure.approve, name="procedure_approve"),
    path("releases/<int:pk>/checklist", releases.checklist, name="checklist"),
    path("releases/<int:pk>/checklist/refresh", releases.refresh, name="evidence_refresh"),
    path("releases/<int:pk>/checklist/<str:check>", releases.tick, name="tick"),
    path("releases/<int:pk>/checklist/<str:check>/run", releases.run, name="check_run"),
]
