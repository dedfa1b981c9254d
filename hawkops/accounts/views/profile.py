"""One's own page: password, factors, sessions and phones."""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from hawkops.accounts.models import EnrolledPhone, User
from hawkops.accounts.selectors import MUST_HAVE, factors, identities, lacks_factor, sessions
from hawkops.accounts.services.phones import phone_revoke
from hawkops.accounts.services.signing import password_set
from hawkops.accounts.views.factors import SHOWN_CODES
from hawkops.core.htmx import request_id
from hawkops.core.recent import must_be_recent
from hawkops.core.sealing import unseal
from hawkops.history.actors import Actor


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """See by what one signs in and from where; set one's own password."""
    user = request.user
    assert isinstance(user, User)
    form: SetPasswordForm[User] = SetPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        must_be_recent()  # whoever found a session open must not make it theirs
        password_set(user=user, password=form.cleaned_data["new_password1"], request_id=request_id(request))
        update_session_auth_hash(request, user)
        messages.success(request, "Your password is set. Other sessions of yours have ended.")
        return redirect("accounts:profile")
    codes = request.session.pop(SHOWN_CODES, "")
    context = {
        "form": form,
        "roles": sorted(user.roles_in("")),
        "phones": user.phones.all()[:20],
        "factors": factors(user),
        "must_have": MUST_HAVE if lacks_factor(user) else "",
        "shown_codes": unseal(codes).split(),
        "sessions": sessions(user),
        "session_key": request.session.session_key,
        "identities": identities(user),
    }
    return render(request, "accounts/profile.html", context)


@require_POST
def phone_revoke_own(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke one of one's own enrolled phones."""
    phone = get_object_or_404(EnrolledPhone, pk=pk, user=request.user)
    phone_revoke(phone=phone, actor=Actor.person(request.user), request_id=request_id(request))
    messages.success(request, f"{phone.name} is revoked: it may kill no more.")
    return redirect(reverse("accounts:profile") + "#phones")
