"""Scripts of the deployment procedure, in its order."""

from hawkops.scripts.catalogue import MEGABYTE, Script
from hawkops.scripts.entries.shared import DEPLOYMENT, FALLBACK, TRACK

ALL = (
    Script(
        "kubectl",
        "Apply the monitoring manifest",
        "kubectl apply -f monitoring/production-monitoring.yaml, read first. Without kubectl or a cluster no data.",
        DEPLOYMENT,
        changes_anything=True,
    ),
    Script(
        "scripts/verify-monitoring-stack.sh",
        "Monitoring stack",
        "The manifest holds together, and evaluator, beat, workers, doors, /metrics and health checks answer.",
        DEPLOYMENT,
        installation=True,
    ),
    Script(
        "scripts/deploy-security-stack.sh",
        "Deploy the security stack",
        "Makes signing keys, signs the model, tightens rights, and writes down what was applied. Safe to repeat.",
        DEPLOYMENT,
        changes_anything=True,
        installation=True,
    ),
    Script(
        "scripts/validate-security-config.sh",
        "Security configuration",
        "What is, compared with what was applied: policies, keys, model, rights.",
        DEPLOYMENT,
        installation=True,
    ),
    Script(
        "gradlew",
        "Production build",
        "Builds the app in ANDROID_PROJECT's checkout, with LiteRT off in it. Without a checkout no data.",
        DEPLOYMENT,
        timeout_seconds=3600,
        memory_bytes=24_000 * MEGABYTE,
    ),
    Script(
        "scripts/deploy-to-play-store.sh",
        "Deploy to Play",
        "Releases the app bundle on a track, the track's other releases untouched. Without credentials no data.",
        DEPLOYMENT,
        arguments=(TRACK,),
        changes_anything=True,
        idempotent=False,
        timeout_seconds=1200,
    ),
    Script(
        "scripts/production-smoke-tests.sh",
        "Smoke tests",
        "Pages, doors and flags answer a person, a stranger and a device as they should.",
        DEPLOYMENT,
        installation=True,
    ),
    Script(
        "scripts/verify-core-ai.sh",
        "Core AI",
        "Cloud AI and the local model each answer one request.",
        DEPLOYMENT,
        (FALLBACK,),
    ),
)
