"""Pages of a team's own flags: a form that makes one in every environment, and the press that archives one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can_in_all, requires, requires_everywhere
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from rollout.domain.flags import FlagType
from rollout.domain.values import FieldUnfit
from rollout.models import Proposal
from rollout.services import own_flags as services
from rollout.services.proposals import change_or_propose
from rollout.views import value_forms
from rollout.views.value_forms import ValueForm

MAY_CHANGE = (Role.RELEASER, Role.OPERATOR)
TEXTS = ("key", "title", "explanation", "safe_variant")


@require_safe
@requires()
def new(request: HttpRequest, environment: str) -> HttpResponse:
    """A form for a flag of one's own."""
    return _page(request, ValueForm(FlagType.BOOLEAN.value, "", "", ""))


@require_POST
@requires_everywhere(*MAY_CHANGE)
def create(request: HttpRequest, environment: str) -> HttpResponse:
    """Make a flag in every environment; what is refused comes back with the reason beside its field."""
    given = {name: request.POST.get(name, "") for name in TEXTS}
    kind = request.POST.get("type", "")
    try:
        if kind not in list(FlagType):
            raise FieldUnfit("type", "choose a type.")
        read = value_forms.typed(request.POST, kind).read()
        services.flag_create(
            **given,
            kind=kind,
            on=read.on,
            off=read.off,
            schema=read.schema,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refused:
        return _page(request, value_forms.typed(request.POST, kind, refused=refused), status=422)
    messages.success(request, f"{given['key'].strip()} is made in every environment. Every device gets its safe value.")
    return see_other("rollout:flag", environment=environment, key=given["key"].strip())


@require_POST
@requires(*MAY_CHANGE)
def archive(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Archive a flag here, or propose that."""
    number = request.POST.get("revision", "")
    try:
        made = change_or_propose(
            kind="flag.archive",
            environment=environment,
            payload={"key": key, "expected_revision": int(number) if number.isdecimal() and len(number) < 18 else -1},
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refused:
        messages.error(request, refused.message)
        return see_other("rollout:flag", environment=environment, key=key)
    if isinstance(made, Proposal):
        messages.info(request, "Somebody else must say yes. It is proposed; nothing changed yet.")
        return see_other("rollout:proposal", environment=environment, pk=made.pk)
    messages.success(request, f"{key} is archived in {environment}: nobody is answered from it any more.")
    return see_other("rollout:flag", environment=environment, key=key)


def _page(request: HttpRequest, form: ValueForm, *, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "given": {name: request.POST.get(name, "") for name in TEXTS},
        "types": [one.value for one in FlagType],
        "environments_all": [one.value for one in Environment],
        "may_change": can_in_all(request.user, list(Environment), *MAY_CHANGE),
    }
    return render_page(request, "rollout/flag_new.html", context, status=status)
