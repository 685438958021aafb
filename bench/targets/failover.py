# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long nobody's write is acknowledged when the primary is lost, by kind of fault, and what is lost with it."""

import os
from collections.abc import Callable, Mapping, Sequence

from bench.campaign import READERS, WRITERS, Campaign, Endurance, FaultLab, Handover, endure, hand_over, rehearse
from bench.harness import Figure, Run, Target
from bench.place import TOPOLOGY, missing
from nectar_backend.project import INVENTORIES

MINUTES = float(os.environ.get("NECTAR_BENCH_MINUTES", "30"))
# Seconds: the median that a crash may take, the longest that each other kind may, and a planned switchover.
CRASH_MEDIAN, HOST_MOST, HOST_AND_ETCD_MOST, PAUSE_MOST = 3.0, 22.0, 27.0, 2.0
COMMITS_LEAST = 100_000
GOALS = {
    ("postmaster killed", "median"): CRASH_MEDIAN,
    ("host lost", "max"): HOST_MOST,
    ("host frozen past its lease", "max"): HOST_MOST,
    ("host cut off", "max"): HOST_MOST,
    ("host lost with etcd's lead", "max"): HOST_AND_ETCD_MOST,
}
STATISTICS = ("min", "median", "p95", "max")
HOW = (
    "4 writers post numbered orders to production through the virtual address. The longest time without an acknowledged one, from before the "
    "fault until it is undone; {} faults of this kind"
)
Summarise = Callable[[Sequence[float]], Mapping[str, float]]


def measure(run: Run) -> list[Figure]:
    lab = FaultLab()
    faults = rehearse(lab, lab.kinds, run.rounds, run.say, retries=True)
    handovers = [hand_over(lab, INVENTORIES[TOPOLOGY], run.say) for _ in range(run.rounds)]
    endured = endure(lab, MINUTES, run.say)
    summarise: Summarise = lab.ledger.summarise
    return [
        *fault_figures(faults.silences, summarise),
        *handover_figures(handovers, summarise),
        *endurance_figures(endured),
        *loss_figures(faults, endured, handovers),
    ]


def fault_figures(silences: Mapping[str, Sequence[float]], summarise: Summarise) -> list[Figure]:
    return [
        Figure(
            figure=f"{name}, {statistic}", value=value, unit="s", better="lower", goal=GOALS.get((name, statistic)),
            how=HOW.format(len(values)),
        )
        for name, values in silences.items()
        for statistic, value in summarise(values).items()
    ]  # fmt: skip


def handover_figures(handovers: Sequence[Handover], summarise: Summarise) -> list[Figure]:
    asked = sum(handover.asked for handover in handovers)
    how = f"{len(handovers)} of switchover.yml under {WRITERS} writers and {READERS} readers of production"
    pauses = summarise([handover.pause for handover in handovers])
    return [
        Figure(
            figure="planned switchover, failed requests", value=sum(handover.failed for handover in handovers), unit="",
            better="lower", goal=0, how=f"of {asked}; {how}",
        ),
        *(
            Figure(
                figure=f"planned switchover, longest pause, {statistic}", value=value, unit="s", better="lower",
                goal=PAUSE_MOST if statistic == "max" else None, how=f"between two answers to anybody; {how}",
            )
            for statistic, value in pauses.items()
        ),
    ]  # fmt: skip


def endurance_figures(endured: Endurance) -> list[Figure]:
    how = f"{endured.minutes:g} minutes of writers that don't pause, and no fault; {endured.acknowledged} commits, {endured.refused} refused"
    return [
        Figure(figure="failovers without a fault", value=endured.failovers, unit="", better="lower", goal=0, how=how),
        Figure(figure="longest pause without a fault", value=endured.silence, unit="s", better="lower", how=how),
    ]


def loss_figures(faults: Campaign, endured: Endurance, handovers: Sequence[Handover]) -> list[Figure]:
    count = sum(len(silences) for silences in faults.silences.values())
    acknowledged = faults.acknowledged + endured.acknowledged
    lost = faults.lost + endured.lost + sum(handover.lost for handover in handovers)
    return [
        Figure(
            figure="acknowledged commits lost", value=lost, unit="", better="lower", goal=0,
            how=f"each of them is looked for in the database after {count} faults, each switchover and the time without a fault",
        ),
        Figure(
            figure="commits by two primaries", value=faults.rivals, unit="", better="lower", goal=0,
            how=f"{faults.witnessed} commits by witnesses on all servers: two of one timeline on two servers, or one of a former timeline after the next",
        ),
        Figure(
            figure="acknowledged commits", value=acknowledged, unit="", better="higher", goal=COMMITS_LEAST,
            how=f"{faults.acknowledged} to the writers during faults ({faults.refused} refused), the others without one",
        ),
    ]  # fmt: skip


TARGET = Target(
    purpose="the time without an acknowledged commit by kind of fault, what is lost, planned switchovers, and a time without a fault",
    needs="a lab, deployed, whose hosts may be killed",
    takes="13 minutes a round of 14 faults and a switchover, and half an hour without a fault (NECTAR_BENCH_MINUTES)",
    rounds=3,
    missing=missing,
    measure=measure,
)
