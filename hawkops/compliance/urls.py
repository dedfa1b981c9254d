"""Pages and files of compliance."""

from django.urls import path

from hawkops.compliance import views

app_name = "compliance"
urlpatterns = [
    path("releases/<int:pk>/compliance", views.pack, name="pack"),
    path("releases/<int:pk>/compliance.json", views.pack_json, name="json"),
    path("releases/<int:pk>/compliance.html", views.pack_html, name="html"),
    path("compliance/verify_compliance.pyz", views.verifier, name="verifier"),
]
