"""Scripts of the troubleshooting guide: four problems, diagnosis and solution."""

from hawkops.scripts.catalogue import Argument, Script, a_duration
from hawkops.scripts.entries.shared import BENCHMARK, FREE, GROWTH, MEMORY_USAGE, PREFILL, TROUBLE, a_component

ALL = (
    Script(
        "scripts/check-model-integrity.sh",
        "Model files",
        "Each model file is there, whole, of its kind, and signed.",
        TROUBLE,
    ),
    Script(
        "scripts/check-storage-permissions.sh",
        "Storage",
        "The app reads its models and writes its data, nobody else does, and there is room.",
        TROUBLE,
        (FREE,),
    ),
    Script(
        "df",
        "Free space of the app's folder",
        "df -h of the app's data folder on the device behind adb. Without a device no data.",
        TROUBLE,
        (FREE,),
    ),
    Script(
        "scripts/redownload-models.sh",
        "Download models anew",
        "Fetches the model from MODEL_URL; only a proven one takes the old one's place.",
        TROUBLE,
        arguments=(Argument("verify-integrity", "the runbook's word; the signature is always verified", switch=True),),
        changes_anything=True,
        timeout_seconds=1800,
    ),
    Script(
        "scripts/clear-model-cache.sh",
        "Clear the model cache",
        "Moves what LiteRT cached beside the model into quarantine; nothing is deleted.",
        TROUBLE,
        arguments=(Argument("force", "do it; without this it only counts", switch=True),),
        changes_anything=True,
    ),
    Script(
        "scripts/monitor-memory-usage.sh",
        "Watch memory",
        "Memory of real inferences over a while: below 1.8 GB on average, below 2 GB at its peak.",
        TROUBLE,
        (MEMORY_USAGE,),
        (Argument("duration", "how long to watch, 10m say; without it a minute", a_duration),),
        lasts=True,
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/check-memory-leaks.sh",
        "Memory leaks",
        "Memory does not grow with inferences: a proven growth above 10 MB per hour fails.",
        TROUBLE,
        (GROWTH,),
        (Argument("component", "what to watch", a_component, choices=("litert",)),),
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/analyze-backend-switching.sh",
        "Switching patterns",
        "Switches per device and hour and the time they take; lists which device classes switch, and from what.",
        TROUBLE,
        arguments=(Argument("last-1h", "the last hour only, not the last day", switch=True),),
        installation=True,
    ),
    Script(
        "scripts/check-gpu-drivers.sh",
        "GPU driver",
        "Names the GPU and its driver, on the device or on this host. A software adapter is no GPU.",
        TROUBLE,
        (PREFILL,),
    ),
    Script(
        "scripts/check-gpu-memory.sh",
        "GPU memory",
        "How much memory the GPU has in use, on the device or on this host.",
        TROUBLE,
    ),
)
