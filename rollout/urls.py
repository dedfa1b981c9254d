"""Pages of flags, target groups and releases."""

from django.urls import path

from rollout.views import flags, groups, proposals, releases, walk

app_name = "rollout"
urlpatterns = [
    path("flags", flags.flags, name="flags"),
    path("flags/<str:key>", flags.flag, name="flag"),
    path("flags/<str:key>/percentage", flags.percentage, name="flag_percentage"),
    path("flags/<str:key>/rules", flags.rules, name="flag_rules"),
    path("flags/<str:key>/salt", flags.salt, name="flag_salt"),
    path("flags/<str:key>/override", flags.override, name="flag_override"),
    path("groups", groups.groups, name="groups"),
    path("groups/create", groups.create, name="group_create"),
    path("groups/<slug:key>", groups.group, name="group"),
    path("groups/<slug:key>.csv", groups.export, name="group_csv"),
    path("groups/<slug:key>/members", groups.members, name="group_members"),
    path("groups/<slug:key>/delete", groups.delete, name="group_delete"),
    path("releases", releases.releases, name="releases"),
    path("releases/create", releases.create, name="release_create"),
    path("releases/<int:pk>", walk.release, name="release"),
    path("releases/<int:pk>/phases/start", walk.phase_start, name="phase_start"),
    path("releases/<int:pk>/phases/pause", walk.phase_pause, name="phase_pause"),
    path("releases/<int:pk>/phases/resume", walk.phase_resume, name="phase_resume"),
    path("releases/<int:pk>/phases/abort", walk.phase_abort, name="phase_abort"),
    path("releases/<int:pk>/complete", walk.complete, name="release_complete"),
    path("releases/<int:pk>/comments", walk.comment, name="release_comment"),
    path("proposals", proposals.proposals, name="proposals"),
    path("proposals/<int:pk>", proposals.proposal, name="proposal"),
    path("proposals/<int:pk>/approve", proposals.approve, name="proposal_approve"),
    path("proposals/<int:pk>/apply", proposals.apply, name="proposal_apply"),
    path("proposals/<int:pk>/edit", proposals.edit, name="proposal_edit"),
    path("proposals/<int:pk>/withdraw", proposals.withdraw, name="proposal_withdraw"),
    path("freezes/create", proposals.freeze, name="freeze_create"),
    path("freezes/<int:pk>/end", proposals.thaw, name="freeze_end"),
    path("releases/<int:pk>/checklist", releases.checklist, name="checklist"),
    path("releases/<int:pk>/checklist/refresh", releases.refresh, name="evidence_refresh"),
    path("releases/<int:pk>/checklist/<str:check>", releases.tick, name="tick"),
    path("releases/<int:pk>/checklist/<str:check>/waive", proposals.waive, name="check_waive"),
    path("releases/<int:pk>/checklist/<str:check>/run", releases.run, name="check_run"),
]
