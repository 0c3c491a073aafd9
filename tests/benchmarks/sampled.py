"""Results made up for tests, with whatever ratios they ask for."""

from __future__ import annotations

from benchmarks.results import Figure, Results, Sample

MACHINE: dict[str, Figure] = {
    "cpu": "a CPU",
    "cores": 2,
    "memory_mib": 1024,
    "system": "Linux 6",
    "python": "3.11",
    "twisted": "26.10",
    "brokerproto": "0",
}


def results(*samples: Sample) -> Results:
    """Give results of these samples alone."""
    return Results("2026-01-01T00:00:00Z", MACHINE, {"rounds": 1}, {}, list(samples))


def fleet_sample(
    case: str,
    work: str,
    engines: int = 15_000,
    round: int = 0,  # noqa: A002 - as in Sample
    age: str = "aged",
    mix: int = 0,
    invalid: tuple[str, ...] = (),
    **figures: float,
) -> Sample:
    """Give a sample of the fleet."""
    return Sample("fleet", case, work, engines, round, age, mix, figures, invalid)


def whole(factor: float, engines: int = 15_000, rounds: int = 3) -> list[Sample]:
    """Give everything that goals look at; the broker costs `factor` times the limit."""
    samples = []
    for number in range(rounds):
        for case in ("limit", "limit-acks", "line-receiver", "hub", "hub-acks", "reactor"):
            cost = factor if case in ("hub", "hub-acks", "reactor") else 1.0
            for size in (1_000, engines):
                samples += _session(case, cost, size, number)
        for work, figures in (
            ("join", {"wall_ms": 900.0, "cpu_us_each": 50.0}),
            (
                "beat",
                {
                    "us_per_heartbeat": 10 * factor,
                    "core_percent": 2 * factor,
                    "resident_bytes_per_engine": 400 * factor,
                },
            ),
        ):
            samples.append(Sample("virtual", "engines", work, engines, number, figures=figures))
        for case, each in (("100 lost", 10.0), ("1000 lost", 10.0 * factor)):
            figures = {"us": 100.0, "us_each": each}
            samples.append(Sample("sweep", case, "tick", engines, number, figures=figures))
    return samples


def _session(case: str, cost: float, engines: int, number: int) -> list[Sample]:
    def sample(work: str, *, mix: int = 0, age: str = "aged", **figures: float) -> Sample:
        return Sample("fleet", case, work, engines, number, age, mix, figures)

    samples = [
        sample("reg", rate=20_000 / cost, p99_ms=50 * cost, things=engines),
        sample("reg", rate=20_000 / cost, p99_ms=50 * cost, things=engines, age="young"),
        sample("memory", resident_bytes_per_engine=500 * cost, age="young"),
        sample("memory", resident_bytes_per_engine=520 * cost),
        sample("lad", highest_rate=100_000 / cost),
        sample("fan", last_ms=200 * cost),
    ]
    for mix in (0, 6):
        samples += [
            sample("stop", us_per_heartbeat=2 * cost, mix=mix),
            sample("hb:20000", cpu_us_each=10 * cost, mix=mix),
            sample("hb:1500", cpu_us_each=20 * cost, mix=mix),
        ]
    return samples
