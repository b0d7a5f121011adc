"""What the server counts, for Prometheus. One registry per server, so that two in a process do not add up."""

from types import SimpleNamespace

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

_FIRST = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60, 120)  # seconds
_LEAST = "orpheus_ready"  # which a server of several processes is once all of them are
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10)


class Metrics:
    content_type = CONTENT_TYPE_LATEST

    def __init__(self):
        self.registry = registry = CollectorRegistry()
        own = {"registry": registry, "namespace": "orpheus"}
        self.streams = Gauge("streams", "Texts that are being spoken", **own)
        self.waiting = Gauge("waiting", "Texts that wait for their first sound", **own)
        self.connections = Gauge("connections", "Open connections", **own)
        self.ready = Gauge("ready", "Whether the engine can speak", **own)
        self.first_audio = Histogram(
            "first_audio_seconds", "From a text's arrival to its first sound", buckets=_FIRST, **own
        )
        self.gaps = Histogram(
            "gap_to_audio_ratio",
            "Time between two chunks, as a share of the sound that the first holds",
            buckets=_SHARES,
            **own,
        )
        self.late = Counter("late_chunks", "Chunks that came after a player had run out of sound", **own)
        self.factor = Histogram(
            "real_time_factor", "Seconds taken per second of speech, of a whole text", buckets=_SHARES, **own
        )
        self.ends = Counter("requests", "Texts by how they ended", ["reason"], **own)
        self.refusals = Counter("refusals", "Requests that were refused, by status", ["status"], **own)
        self.audio = Counter("audio_seconds", "Seconds of speech made", **own)
        self.characters = Counter("characters", "Characters of text taken", **own)
        self.restarts = Counter("engine_restarts", "Times that the engine was brought back", **own)
        self.dropped = Counter("slow_readers_dropped", "Clients that took nothing for too long", **own)

    def page(self):
        """Bytes for /metrics."""
        return generate_latest(self.registry)

    async def whole_page(self):
        """The same, of all processes that count."""
        return self.page()

    def families(self):
        """All that was counted, for `merge`; can be pickled."""
        return list(self.registry.collect())


def merge(families):
    """[Metric] of the same names from several processes as one of each: their sum; what began, the earliest."""
    merged = {}
    for family in families:
        name = family.name
        kept, values = merged.setdefault(name, (Metric(name, family.documentation, family.type, family.unit), {}))
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            least = name == _LEAST or sample.name.endswith("_created")
            join = min if least else float.__add__
            values[key] = join(float(values[key]), float(sample.value)) if key in values else sample.value
    for kept, values in merged.values():
        for (name, labels), value in values.items():
            kept.add_sample(name, dict(labels), value)
    return [kept for kept, _ in merged.values()]


def lasting(families):
    """What of a process' families counts on when it has ended: all but what they are just now."""
    return [family for family in families if family.type != "gauge"]


def page_of(families):
    """Bytes for /metrics."""
    return generate_latest(SimpleNamespace(collect=lambda: families))
