"""Pages and files of compliance."""

from django.urls import path

from hawkops.compliance import people_views, views

app_name = "compliance"
urlpatterns = [
    path("releases/<int:pk>/compliance", views.pack, name="pack"),
    path("releases/<int:pk>/compliance.json", views.pack_json, name="json"),
    path("releases/<int:pk>/compliance.html", views.pack_html, name="html"),
    path("compliance/verify_compliance.pyz", views.verifier, name="verifier"),
    path("people/review", people_views.review, name="review"),
    path("people/review/done", people_views.reviewed, name="reviewed"),
    path("people/review.csv", people_views.review_csv, name="review_csv"),
    path("people/history", people_views.roles, name="roles"),
    path("people/history.csv", people_views.roles_csv, name="roles_csv"),
    path("people/acts.csv", people_views.acts_csv, name="acts_csv"),
]
