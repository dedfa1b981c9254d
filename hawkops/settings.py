"""All settings. Values come from the environment by `hawkops.core.env`; the README lists them."""

from pathlib import Path

from csp.constants import NONE, SELF

from hawkops.core import env, logs
from hawkops.core.access import Role
from hawkops.core.environments import Environment

ROOT = Path(__file__).resolve().parent.parent
DATA = env.data_dir()

DEBUG = env.flag("HAWKOPS_DEBUG")
SECRET_KEY = env.text("SECRET_KEY")
# earlier ones: what they signed and sealed still counts
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CONSOLE_URL = env.text("CONSOLE_URL", "http://localhost:8000")
GATEWAY_URL = env.text("GATEWAY_URL", "http://127.0.0.1:4318")
CLOUD_AI_URL = env.text("CLOUD_AI_URL", "")
SCRIPTS_DIR = Path(env.text("HAWKOPS_SCRIPTS_DIR", str(ROOT / "hawkops" / "scripts" / "bin")))
LITERT_MODEL = env.text("LITERT_MODEL", str(ROOT / "hawkops" / "fleet" / "model" / "synthetic.litertlm"))
ALERTMANAGER_TOKEN = env.text("ALERTMANAGER_TOKEN", "")
METRICS_TOKEN = env.text("METRICS_TOKEN", "")
LOG_APP_FILE = env.text("LOG_APP_FILE", "/var/log/hazardhawk/app.log")
LOG_SECURITY_FILE = env.text("LOG_SECURITY_FILE", "/var/log/hazardhawk/security.log")
TELEMETRY_KEY_POINTS_PER_SECOND = env.number("TELEMETRY_KEY_POINTS_PER_SECOND", 500_000)
TELEMETRY_FREE_DISK_PERCENT = env.number("TELEMETRY_FREE_DISK_PERCENT", 10)
TELEMETRY_DATABASE_GB = env.number("TELEMETRY_DATABASE_GB", 0)
# nobody else looks before exposure rises in production: said on every page that asks for approval
ONE_PERSON_INSTALLATION = env.flag("ONE_PERSON_INSTALLATION")
# beside production: an environment in which the approvals are rehearsed
APPROVALS_IN = env.words("APPROVALS_IN", allowed=tuple(Environment))
# the runbook's: `seed` makes a channel of it
SLACK_WEBHOOK = env.text("SLACK_WEBHOOK", "")
SECURITY_WEBHOOK = env.text("SECURITY_WEBHOOK", "")
SECURITY_EMAIL = env.text("SECURITY_EMAIL", "")
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_TLS, EMAIL_USE_SSL = env.smtp("SMTP_URL")
# in Europe https://events.eu.pagerduty.com
PAGERDUTY_URL = env.text("PAGERDUTY_URL", "https://events.pagerduty.com")
# how the second path pages when a step of an escalation is late
SECOND_PATH_EMAIL = env.words("SECOND_PATH_EMAIL")
SECOND_PATH_WEBHOOK = env.text("SECOND_PATH_WEBHOOK", "")
# asked once a minute while all is well: whoever keeps it tells when it is asked no more
HEARTBEAT_URL = env.text("HEARTBEAT_URL", "")
# outside the database: who signs the history, who signed it earlier, and where its witness writes
HISTORY_SIGNING_KEY = env.text("HISTORY_SIGNING_KEY", "")
HISTORY_VERIFIERS = env.words("HISTORY_VERIFIERS")
WITNESS_DIR = Path(env.text("WITNESS_DIR", str(DATA / "witness")))
WITNESS_URL = env.text("WITNESS_URL", "")
# a backup a day, by a worker; without a passphrase the folder must be closed to others
BACKUP_DIR = env.text("BACKUP_DIR", "")
BACKUP_KEEP = int(env.number("BACKUP_KEEP", 14))
BACKUP_PASSPHRASE = env.text("BACKUP_PASSPHRASE", "")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("MAIL_FROM", "hawkops@localhost")
CSRF_TRUSTED_ORIGINS = [CONSOLE_URL]
# whose X-Forwarded-For and X-Forwarded-Proto are believed
TRUSTED_PROXIES = env.words("TRUSTED_PROXIES", "127.0.0.1")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "template_partials",
    # of it only what accounts calls: none of its pages has an address
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "hawkops.core",
    "hawkops.history",
    "hawkops.accounts",
    "hawkops.scripts",
    "monitoring",
    "rollout",
    "incidents",
    "hawkops",
]

MIDDLEWARE = [
    "hawkops.core.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "hawkops.core.middleware.HeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "hawkops.core.middleware.EnvironmentMiddleware",
    "hawkops.core.middleware.FitMiddleware",
    "hawkops.core.middleware.RefusalMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "hawkops.accounts.views.sessions.SessionsMiddleware",
    "hawkops.accounts.views.confirming.RecentLoginMiddleware",
    "hawkops.accounts.views.requiring.SecondFactorMiddleware",
]

ROOT_URLCONF = "hawkops.urls"
WSGI_APPLICATION = "hawkops.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "hawkops.strip.page",
            ],
            "builtins": ["hawkops.core.templatetags.look", "template_partials.templatetags.partials"],
            "libraries": {"look": "hawkops.core.templatetags.look"},
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    [("django.template.loaders.cached.Loader", ["django.template.loaders.filesystem.Loader"])],
                )
            ],
        },
    }
]

# The application connects with a role that may not alter the history; the owner migrates.
SESSION_TIMEOUT_MS = 5_000
DATABASE_URL = env.text("DATABASE_URL")
DATABASES = {"default": env.database(DATABASE_URL, session_timeout_ms=SESSION_TIMEOUT_MS)}
if owner_url := env.text("DATABASE_OWNER_URL", ""):
    DATABASES["owner"] = {**env.database(owner_url, session_timeout_ms=None), "CONN_MAX_AGE": 0}

REDIS_URL = env.text("REDIS_URL")
CELERY_BROKER_URL = env.broker(REDIS_URL)

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "/"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# whoever holds one of these roles changes nothing without a second factor, kills aside
SECOND_FACTOR_FOR = env.words("SECOND_FACTOR_FOR", allowed=tuple(Role))
MFA_ADAPTER = "hawkops.accounts.adapters.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "HawkOps"
# a clock half a minute off still signs in
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODE_COUNT, MFA_RECOVERY_CODE_DIGITS = 10, 12
MFA_WEBAUTHN_USER_VERIFICATION = "required"
# who vouches for people elsewhere; nothing of it answers until it is set
OIDC_ISSUER = env.issuer("OIDC_ISSUER")
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID", "")
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET", "")
OIDC_NAME = env.text("OIDC_NAME", "single sign-on")
OIDC_CREATE_AS = env.one_of("OIDC_CREATE_AS", tuple(Role))
SOCIALACCOUNT_ADAPTER = "hawkops.accounts.adapters.IdentityAdapter"
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10

# who signed in longer ago says again who they are before exposure rises in production; 0 asks nobody
RECENT_LOGIN_MINUTES = env.number("RECENT_LOGIN_MINUTES", 60)
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = CONSOLE_URL.startswith("https://")
# who looks after the process asks it directly
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_SSL_REDIRECT else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_SSL_REDIRECT
# preloading binds a whole domain for years: its owner's decision, not a console's
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SESSION_COOKIE_NAME = "hawkops_session"
CSRF_COOKIE_NAME = "hawkops_csrf"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "/static/"
STATICFILES_DIRS = [ROOT / "static"]
STATIC_ROOT = DATA / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_MANIFEST_STRICT = False
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

LOGGING = logs.configured(
    env.choice("LOG_FORMAT", "text", ("text", "json")),
    env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
)
