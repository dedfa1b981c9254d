"""Signing in and out, people and keys."""

from django.urls import path

from hawkops.accounts.views import break_glass, confirming, credentials, people, profile, signing

app_name = "accounts"
urlpatterns = [
    path("login", signing.sign_in, name="login"),
    path("logout", signing.sign_out, name="logout"),
    path("enter/<str:token>", signing.enter, name="enter"),
    path("confirm", confirming.confirm, name="confirm"),
    path("break-glass", break_glass.open_glass, name="break_glass"),
    path("<str:environment>/people/codes", break_glass.code_make, name="code_make"),
    path("<str:environment>/people/codes/<int:pk>/revoke", break_glass.code_revoke, name="code_revoke"),
    path("profile", profile.profile, name="profile"),
    path("profile/phones/<int:pk>/revoke", profile.phone_revoke_own, name="phone_revoke_own"),
    path("<str:environment>/people", people.people, name="people"),
    path("<str:environment>/people/add", people.person_add, name="person_add"),
    path("<str:environment>/people/<int:pk>/roles", people.person_roles, name="person_roles"),
    path("<str:environment>/people/<int:pk>/teams", people.person_teams, name="person_teams"),
    path("<str:environment>/keys/add", credentials.key_add, name="key_add"),
    path("<str:environment>/keys/<int:pk>/rotate", credentials.key_rotate, name="key_rotate"),
    path("<str:environment>/keys/<int:pk>/revoke", credentials.key_revoke, name="key_revoke"),
    path("<str:environment>/phones/<int:pk>/revoke", credentials.phone_revoke_any, name="phone_revoke"),
    path("<str:environment>/tokens/add", credentials.token_add, name="token_add"),
    path("<str:environment>/tokens/<int:pk>/rotate", credentials.token_rotate, name="token_rotate"),
    path("<str:environment>/tokens/<int:pk>/revoke", credentials.token_revoke, name="token_revoke"),
]
