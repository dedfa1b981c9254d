"""What every endpoint of the REST API shares: strict bounded bodies, and refusals as `{"error": sentence}`."""

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from pydantic import ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from hawkops.core.bounded import fit, json_loads
from hawkops.core.errors import HawkOpsError
from hawkops.core.recent import NeedsRecentLogin
from hawkops.core.why import Why

WHOLE_MOST = 2**63 - 1
SIGN_IN_AGAIN = "You signed in a while ago, and this raises exposure: sign in again, then repeat it. Kills never ask."
SIGN_IN = "Send Authorization: Bearer hkt_… with a token that still lives, or sign in."
REFUSALS = {
    400: "A text or number in it means nothing here.",
    401: "Nobody is signed in, and there is no live token.",
    403: "The token or person may not do this here.",
    404: "There is no such thing here.",
    409: "It was changed meanwhile, or it needs something first.",
    413: "The body is larger than this door takes.",
    415: "The body is of another kind than this operation takes.",
    422: "The body or a parameter is not what this operation takes.",
}


class Body(Schema):
    """A request's body: of the said types and without a member that nobody knows."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ReasonBody(Body):
    """Why."""

    reason: str


class Inline:
    """Writes an enumeration's words where it stands: named by its class, another of that name would hide it."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler.resolve_ref_schema(handler(schema))


class WhyNumberOut(Schema):
    """A number behind a verdict, in words."""

    name: str
    value: str


class WhyOut(Schema):
    """Why a verdict is what it is; `turns` say what would change it, `method` how value and interval are computed."""

    title: str
    numbers: list[WhyNumberOut]
    formula: str
    method: str
    turns: list[str]


def why_out(found: Why) -> WhyOut:
    """Return a verdict's why."""
    return WhyOut(
        title=found.title,
        numbers=[WhyNumberOut(name=name, value=value) for name, value in found.numbers],
        formula=found.formula,
        method=found.method,
        turns=list(found.turns),
    )


class StrictParser(Parser):
    """Reads bodies as every door does: strict JSON of bounded depth; its size is bounded by Django."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Parse the body. Raises Malformed."""
        return fit(json_loads(request.body))


def refusal(message: str, status: int) -> HttpResponse:
    """Answer with a sentence."""
    response = JsonResponse({"error": message}, status=status)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="HawkOps"'
    return response


def refuse_in_sentences(api: NinjaAPI) -> None:
    """Let every refusal answer with its own status and sentence; what is unexpected goes on to Django."""
    api.add_exception_handler(HawkOpsError, _refused)
    api.add_exception_handler(NeedsRecentLogin, lambda *_: refusal(SIGN_IN_AGAIN, 403))
    api.add_exception_handler(ValidationError, _unfit)
    api.add_exception_handler(AuthenticationError, lambda *_: refusal(SIGN_IN, 401))
    api.add_exception_handler(HttpError, _http_error)
    api.add_exception_handler(RawPostDataException, lambda *_: refusal("The body must be JSON, not a form.", 415))
    api.add_exception_handler(RequestDataTooBig, lambda *_: refusal("The body is larger than this door takes.", 413))


def documented(scope: str, *roles: str) -> dict[str, Any]:
    """Return what the OpenAPI document says of an operation's rights and refusals."""
    schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {
        "x-scope": scope,
        "x-roles": list(roles),
        "responses": {
            status: {"description": meaning, "content": {"application/json": {"schema": schema}}}
            for status, meaning in REFUSALS.items()
        },
    }


def _refused(_: HttpRequest, error: HawkOpsError | type[HawkOpsError]) -> HttpResponse:
    assert isinstance(error, HawkOpsError)
    return refusal(error.message, error.status)


def _http_error(request: HttpRequest, error: HttpError | type[HttpError]) -> HttpResponse:
    assert isinstance(error, HttpError)
    # the framework hides why a body could not be read
    if isinstance(error.__cause__, HawkOpsError):
        return _refused(request, error.__cause__)
    return refusal(error.message, error.status_code)


def _unfit(_: HttpRequest, error: ValidationError | type[ValidationError]) -> HttpResponse:
    """Say the first thing that is wrong and where; `loc` begins with where it came from and the parameter's name."""
    assert isinstance(error, ValidationError)
    first = error.errors[0]
    where = [str(part) for part in first["loc"]]
    inside = ".".join(where[2:] if where[0] == "body" else where[1:])
    return refusal(f"{inside or 'The body'}: {str(first['msg'])[:200]}.", 422)
