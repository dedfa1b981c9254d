"""The devices of a simulated fleet without a network: what each does in a span of time, and the export that tells it.

The same seed gives the same devices, and the same moments the same exports. Nothing here reads a clock.
"""

import random
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from typing import NamedTuple

from hawkops.fleet.classes import CLASSES, Activity, Body, Sample
from hawkops.fleet.identity import Identity
from hawkops.fleet.orders import SAFE, Orders
from hawkops.fleet.otlp import LOGS_PATH, METRICS_PATH, Attributes, Payload, Recorder, crash_events
from hawkops.fleet.scenarios import Injection, arrivals, hits
from hawkops.fleet.usage import HOUR, Usage

KEPT_SECONDS = HOUR  # of exports that could not be sent
TASKS_PER_SECOND, MOST_TASKS = 0.3, 30  # in the busiest hour; that many a report, however long its span
SESSIONS_PER_HOUR = 6.0
ADAPTIVE_SWITCHES_PER_HOUR = 1.5
COMPLETED_SHARE, PARITY_SHARE = 0.98, 0.2
RATED_SHARE, TICKETS_PER_SESSION = 0.1, 0.0005
RATINGS, RATING_SHARES = (5.0, 4.0, 3.0, 2.0, 1.0), (0.74, 0.19, 0.05, 0.015, 0.005)
EVENTS_PER_TASK = 2.0
# of a processor in the busiest hour, assumed: a photograph that is encoded and sent takes nearly as much as one that is read
# by the device itself; the camera warms a phone, whoever answers
BUSY_LOCAL, BUSY_CLOUD = 0.22, 0.2
WARM_SHARE, CAMERA_SHARE = 0.4, 0.3
CRASH: Attributes = {
    "exception.type": "java.lang.IllegalStateException",
    "exception.message": "The photograph was closed before it was read.",
    "exception.stacktrace": "java.lang.IllegalStateException: The photograph was closed before it was read.\n"
    "\tat com.hazardhawk.camera.Photograph.read(Photograph.kt:118)\n"
    "\tat com.hazardhawk.analysis.AnalysisWorker.run(AnalysisWorker.kt:64)",
}


class Export(NamedTuple):
    """One request to the gateway: a gzipped OTLP payload, and the address that takes it."""

    payload: bytes
    path: str = METRICS_PATH


class Outbox:
    """Exports that wait for the network, oldest first. What is older than an hour is given up."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Export]] = deque()

    def put(self, export: Export, *, at: float) -> None:
        """Keep an export that was made at a moment."""
        self._waiting.append((at, export))

    def waiting(self, now: float) -> Export | None:
        """Return the oldest export that is still worth sending, None when there is none."""
        while self._waiting and self._waiting[0][0] < now - KEPT_SECONDS:
            self._waiting.popleft()
        return self._waiting[0][1] if self._waiting else None

    def sent(self) -> None:
        """Forget the oldest export."""
        self._waiting.popleft()

    def taken(self, now: float) -> Iterator[Export]:
        """Yield and forget everything that is still worth sending."""
        while (export := self.waiting(now)) is not None:
            self.sent()
            yield export


class SimulatedDevice:
    """One device of the fleet: what it is, what it has been ordered to do, and what it reports."""

    def __init__(self, identity: Identity, body: Body, usage: Usage, *, injection: Injection | None = None) -> None:
        self.identity, self.body, self.usage, self.injection = identity, body, usage, injection
        self.orders: Orders = SAFE
        self.variants: dict[str, str] = {}
        self.revision: int | None = None
        self.outbox = Outbox()
        self._switches = 0
        self._trouble = random.Random(
            f"trouble {usage.seed}"
        )  # its own: a scenario leaves the rest of the day as it was
        self._camera = random.Random(f"camera {usage.seed}")
        self._free_bytes = int(body.chance.uniform(4e9, 90e9))

    def obey(self, orders: Orders) -> None:
        """Take orders; a change of the backend while LiteRT runs is a switch."""
        old, self.orders = self.orders, orders
        self._switches += (
            old.litert_enabled and orders.litert_enabled and old.backend_requested != orders.backend_requested
        )

    def report(self, *, begins_at: float, ends_at: float) -> list[Export]:
        """Live through a span of time, in seconds since 1970, and return the exports about it, in their order.

        The metrics go first: they count the crashes, so that the gateway knows not to count the events behind them again.
        """
        resource = self.identity.resource()
        payload = Payload(resource, begins_at=begins_at, ends_at=ends_at)
        activity = self.tell(payload, begins_at=begins_at, ends_at=ends_at)
        exports = [Export(payload.compressed())]
        if activity.crashes:
            moments = sorted(self._trouble.uniform(begins_at, ends_at) for _ in range(activity.crashes))
            exports.append(Export(crash_events(resource, moments, CRASH), LOGS_PATH))
        return exports

    def tell(self, recorder: Recorder, *, begins_at: float, ends_at: float) -> Activity:
        """Live through a span of time, tell a recorder what was observed, and return what was done."""
        activity = self.live(begins_at=begins_at, ends_at=ends_at)
        self._tell_inferences(recorder, activity)
        self._tell_app(recorder, activity)
        self._tell_state(recorder, at=ends_at)
        return activity

    def live(self, *, begins_at: float, ends_at: float) -> Activity:
        """Simulate what the device does in a span of time."""
        chance, orders, seconds = self.body.chance, self.orders, max(0.0, ends_at - begins_at)
        load = self.usage.load((begins_at + ends_at) / 2)
        tasks = arrivals(chance, min(TASKS_PER_SECOND * seconds, MOST_TASKS) * load)
        samples: list[Sample] = []
        for at in sorted(chance.uniform(begins_at, ends_at) for _ in range(tasks)):
            samples.extend(self._task(at))
        switches, self._switches = self._switches, 0
        if orders.litert_enabled and orders.litert_adaptive_switching:
            switches += arrivals(chance, ADAPTIVE_SWITCHES_PER_HOUR * load * seconds / HOUR)
        done = sum(sample.local and not sample.error for sample in samples)
        activity = Activity(
            seconds,
            tuple(samples),
            sessions=arrivals(chance, SESSIONS_PER_HOUR * load * seconds / HOUR),
            switches=switches,
            parity_checks=hits(chance, done, PARITY_SHARE),
        )
        if self.injection is None:
            return activity
        return self.injection.activity(activity, self._trouble, since=begins_at)

    def _task(self, at: float) -> Iterator[Sample]:
        """Answer one request of the app, wherever the orders allow."""
        orders, requested = self.orders, self.orders.backend_requested
        if orders.litert_enabled:
            sample = self.body.infer(requested, now=at)
            yield self.injection.sample(sample, self.body, at=at) if self.injection else sample
            if sample.error and orders.ai_fallback_to_cloud:
                yield self.body.ask_cloud(requested)
        elif orders.ai_fallback_to_cloud:
            yield self.body.ask_cloud(requested)

    def _arm(self) -> Attributes:
        """Say which side of the comparison the device is on; it stands on everything that the device reports."""
        return {"feature_flag.result.variant": self.variants.get("litert_enabled", "safe")}

    def _attributes(self, requested: str, actual: str) -> Attributes:
        return {
            "litert.backend.requested": requested,
            "litert.backend.actual": actual,
            "gen_ai.request.model": self.body.device_class.ai_model,
            **self._arm(),
        }

    def _tell_inferences(self, recorder: Recorder, activity: Activity) -> None:
        groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in activity.samples:
            groups[sample.requested, sample.actual].append(sample)
        for (requested, actual), group in groups.items():
            attributes = self._attributes(requested, actual)
            done = [sample for sample in group if not sample.error]
            recorder.count("litert.inferences", "{inference}", len(done), attributes)
            errors = Counter(sample.error for sample in group if sample.error)
            for error, number in errors.items():
                recorder.count("litert.inferences", "{inference}", number, {**attributes, "error.type": error})
            seconds = [sample.seconds for sample in done]
            recorder.histogram("gen_ai.client.operation.duration", "s", seconds, attributes)
            if actual == "cloud":
                recorder.histogram("litert.fallback.duration", "s", seconds, attributes)
                recorder.histogram("http.client.request.duration", "s", seconds, attributes)
                continue
            first = [sample.first_token_seconds for sample in done]
            memory = [sample.memory_bytes for sample in done]
            recorder.histogram("gen_ai.server.time_to_first_token", "s", first, attributes)
            for load, some in (
                ("burst", [one for one in done if not one.warm]),
                ("sustained", [one for one in done if one.warm]),
            ):
                loaded = {**attributes, "litert.load": load}
                recorder.histogram("litert.prefill.throughput", "{token}/s", [one.prefill for one in some], loaded)
                recorder.histogram("litert.decode.throughput", "{token}/s", [one.decode for one in some], loaded)
            recorder.histogram("litert.memory.usage", "By", memory, attributes)
            recorder.histogram("litert.memory.peak", "By", memory, attributes)
        self._tell_litert(recorder, activity)

    def _tell_litert(self, recorder: Recorder, activity: Activity) -> None:
        chance, requested = self.body.chance, self.orders.backend_requested
        actual = activity.local[0].actual if activity.local else self.body.actual(requested)
        attributes = self._attributes(requested, actual)
        recorder.count("litert.backend.switches", "{switch}", activity.switches, attributes)
        times = [self._trouble.uniform(0.08, 0.3) for _ in range(activity.switches)]
        recorder.histogram("litert.backend.switch.duration", "s", times, attributes)
        matches = activity.parity_checks - activity.parity_mismatches
        for outcome, number in (("match", matches), ("mismatch", activity.parity_mismatches)):
            recorder.count("litert.parity.checks", "{check}", number, {**attributes, "outcome": outcome})
        if self.orders.litert_enabled:
            model = {"gen_ai.request.model": self.body.device_class.ai_model, **self._arm(), "outcome": "ok"}
            recorder.count("litert.model.validations", "{validation}", hits(chance, activity.sessions, 0.5), model)

    def _tell_app(self, recorder: Recorder, activity: Activity) -> None:
        chance, arm = self.body.chance, self._arm()
        tasks = sum(not sample.error for sample in activity.samples)
        recorder.count("app.tasks.started", "{task}", tasks, arm)
        recorder.count("app.tasks.completed", "{task}", hits(chance, tasks, COMPLETED_SHARE), arm)
        recorder.count("app.engagement.events", "{event}", arrivals(chance, EVENTS_PER_TASK * tasks), arm)
        recorder.count("app.sessions", "{session}", activity.sessions, arm)
        recorder.count("app.crashes", "{crash}", activity.crashes, arm)
        lengths = [chance.lognormvariate(5.5, 0.6) for _ in range(activity.sessions)]
        recorder.histogram("app.session.duration", "s", lengths, arm)
        ratings = chance.choices(RATINGS, RATING_SHARES, k=hits(chance, activity.sessions, RATED_SHARE))
        recorder.histogram("app.user.satisfaction", "1", ratings, arm)
        recorder.count("app.support_tickets", "{ticket}", hits(chance, activity.sessions, TICKETS_PER_SESSION), arm)
        requests = [min(5.0, chance.lognormvariate(-1.2, 0.5)) for _ in range(activity.sessions)]
        recorder.histogram("http.client.request.duration", "s", requests, arm)

    def _tell_state(self, recorder: Recorder, *, at: float) -> None:
        chance, arm = self.body.chance, self._arm()
        load, warm = self.usage.load(at), self.body.warm(at)
        busy = load * (BUSY_LOCAL if self.orders.litert_enabled else BUSY_CLOUD)
        recorder.gauge("process.cpu.utilization", "1", min(1.0, 0.03 + busy * chance.uniform(0.7, 1.3)), arm)
        recorder.gauge("device.battery.drain", "1", 0.015 + busy * chance.uniform(0.1, 0.2), arm)
        recorder.gauge("device.storage.free", "By", self._free_bytes - chance.randrange(50_000_000), arm)
        recorder.gauge(
            "device.thermal.status",
            "1",
            hits(chance, 2, WARM_SHARE) if warm else hits(self._camera, 2, CAMERA_SHARE * load),
            arm,
        )
        if self.revision is not None:
            recorder.gauge("hawkops.flags.revision", "", self.revision, {})


def population(
    devices: int, *, seed: int, steady: bool = False, injection: Injection | None = None
) -> list[SimulatedDevice]:
    """Make the devices of a fleet. `steady` ones know neither night nor outage."""
    chance = random.Random(seed)
    shares = [device_class.share for device_class in CLASSES]
    made = []
    for number in range(devices):
        device_class = chance.choices(CLASSES, shares)[0]
        body = Body.born(device_class, random.Random(chance.getrandbits(64)))
        identity = Identity(
            f"sim-{uuid.UUID(int=chance.getrandbits(128)).hex[:16]}",
            device_class.soc,
            chance.choice(device_class.models),
            body.app_version,
            simulated=True,
            gpu_driver=body.gpu_driver,
            os_api=device_class.os_api,
            memory_mb=device_class.ram_megabytes,
        )
        habits = f"{seed} {number}"
        usage = Usage(habits, steady=True) if steady else Usage.drawn(habits)
        made.append(SimulatedDevice(identity, body, usage, injection=injection))
    return made
