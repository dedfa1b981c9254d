"""Signing in and out, people and keys."""

from django.urls import path

from hawkops.accounts import confirming, views

app_name = "accounts"
urlpatterns = [
    path("login", views.sign_in, name="login"),
    path("logout", views.sign_out, name="logout"),
    path("enter/<str:token>", views.enter, name="enter"),
    path("confirm", confirming.confirm, name="confirm"),
    path("profile", views.profile, name="profile"),
    path("profile/phones/<int:pk>/revoke", views.phone_revoke_own, name="phone_revoke_own"),
    path("<str:environment>/people", views.people, name="people"),
    path("<str:environment>/people/add", views.person_add, name="person_add"),
    path("<str:environment>/people/<int:pk>/roles", views.person_roles, name="person_roles"),
    path("<str:environment>/people/<int:pk>/teams", views.person_teams, name="person_teams"),
    path("<str:environment>/keys/add", views.key_add, name="key_add"),
    path("<str:environment>/keys/<int:pk>/revoke", views.key_revoke, name="key_revoke"),
    path("<str:environment>/phones/<int:pk>/revoke", views.phone_revoke_any, name="phone_revoke"),
    path("<str:environment>/tokens/add", views.token_add, name="token_add"),
    path("<str:environment>/tokens/<int:pk>/revoke", views.token_revoke, name="token_revoke"),
]
