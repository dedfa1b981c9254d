"""Signing in and out, people and keys."""

from django.urls import path

from hawkops.accounts.views import confirming, credentials, erasing, people, profile, signing

app_name = "accounts"
urlpatterns = [
    path("login", signing.sign_in, name="login"),
    path("logout", signing.sign_out, name="logout"),
    path("enter/<str:token>", signing.enter, name="enter"),
    path("confirm", confirming.confirm, name="confirm"),
    path("profile", profile.profile, name="profile"),
    path("profile/phones/<int:pk>/revoke", profile.phone_revoke_own, name="phone_revoke_own"),
    path("<str:environment>/people", people.people, name="people"),
    path("<str:environment>/people/add", people.person_add, name="person_add"),
    path("<str:environment>/people/<int:pk>/roles", people.person_roles, name="person_roles"),
    path("<str:environment>/people/<int:pk>/teams", people.person_teams, name="person_teams"),
    path("<str:environment>/people/<int:pk>/erase", erasing.before, name="person_erase"),
    path("<str:environment>/people/<int:pk>/erase/press", erasing.press, name="person_erase_press"),
    path("<str:environment>/people/<int:pk>/hold", erasing.hold, name="person_hold"),
    path("<str:environment>/people/<int:pk>/hold/lift", erasing.lift, name="person_hold_lift"),
    path("<str:environment>/keys/add", credentials.key_add, name="key_add"),
    path("<str:environment>/keys/<int:pk>/revoke", credentials.key_revoke, name="key_revoke"),
    path("<str:environment>/phones/<int:pk>/revoke", credentials.phone_revoke_any, name="phone_revoke"),
    path("<str:environment>/tokens/add", credentials.token_add, name="token_add"),
    path("<str:environment>/tokens/<int:pk>/revoke", credentials.token_revoke, name="token_revoke"),
]
