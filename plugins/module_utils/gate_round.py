# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at all gates before a step: which are asked, what they are told, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils import (
    gate_approval,
    gate_capacity,
    gate_command,
    gate_database,
    gate_freeze,
    gate_lease,
    gate_prometheus,
    gate_window,
)
from ansible_collections.nectar.backend.plugins.module_utils.gate_capacity import CapacityFacts, Room
from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    GATES,
    NOT_MEASURABLE,
    GateError,
    Verdict,
    deadline_of,
    instant,
    settle,
    silent,
)
from ansible_collections.nectar.backend.plugins.module_utils.rollout_policy import check_policy


@dataclass(frozen=True)
class Declared:
    """What the environment has, beside what every environment has; `backup` is when the last proven backup was made, where the inventory says so."""

    prometheus: str = ""
    backups: bool = False
    backup: float | None = None
    replicas: int = 0


@dataclass(frozen=True)
class Rollout:
    """A rollout before one of its steps."""

    name: str
    policy: Mapping[str, Any]
    step: Mapping[str, Any]
    release: str = ""
    revision: str = ""
    person: str = ""
    token: int | None = None
    began: float | None = None
    hosts: Sequence[str] = ()
    rooms: Mapping[str, Room] = field(default_factory=dict)
    override: Mapping[str, str] | None = None

    @property
    def names(self) -> dict[str, str]:
        return {"deployment": self.name, "release": self.release, "revision": self.revision}


@dataclass(frozen=True)
class Store:
    """What etcd holds: the freeze, and by deployment its lease with the token, and its approval."""

    freeze: Mapping[str, Any] | None = None
    leases: Mapping[str, tuple[Mapping[str, Any], int]] = field(default_factory=dict)
    approvals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """What one look saw. A text stands for a source that didn't answer, and says why."""

    now: float
    store: Store | str = field(default_factory=Store)
    database: gate_database.DatabaseFacts | str = "nobody asked it"
    prometheus: Mapping[str, gate_prometheus.PrometheusFacts] = field(default_factory=dict)
    commands: Mapping[str, gate_command.CommandFacts] = field(default_factory=dict)


@dataclass(frozen=True)
class Sorted:
    """A policy's gates: those that are asked before a step, those that wait for the release, and what is left out."""

    asked: tuple[str, ...]
    later: tuple[str, ...]
    left_out: tuple[str, ...]


def read_rollout(data: Mapping[str, Any]) -> Rollout:
    """A rollout from plain data; GateError says what is wrong with it."""
    name, policy = data["name"], data["policy"]
    if problems := check_policy(policy, "policy"):
        raise GateError("; ".join(problems))
    if not isinstance(policy.get("gates"), dict) or not {"lease", "freeze"} <= policy["gates"].keys():
        raise GateError("policy lacks its defaults; expected what full_policy() made; pass the plan's policy on")
    step = data["step"]
    if not isinstance(step.get("index"), int) or not isinstance(step.get("hosts"), list):
        raise GateError(f"step is {step!r}; expected index, hosts, share and bake; pass a resolved step on")
    return Rollout(
        name=name,
        policy=policy,
        step=step,
        release=data.get("release") or "",
        revision=data.get("revision") or "",
        person=data.get("person") or "",
        token=data.get("token"),
        began=instant(data.get("began")),
        hosts=tuple(data.get("hosts") or step["hosts"]),
        rooms={host: Room(**room) for host, room in (data.get("capacity") or {}).items()},
        override=data.get("override"),
    )


def sort_gates(policy: Mapping[str, Any], declared: Declared) -> Sorted:
    """Say which gates are asked before a step."""
    asked, later, left_out = [], [], []
    for name, spec in policy["gates"].items():
        if GATES[name].needs_release:
            later.append(f"{name}: {NOT_MEASURABLE}, for it needs the new release")
        elif name == gate_prometheus.GATE and not prometheus_url(spec, declared):
            left_out.append(f"{name}: left out, for the environment declares no Prometheus")
        else:
            asked.append(name)
        if name == gate_database.GATE:
            left_out += gate_database.left_out(spec, declared.backups)
    return Sorted(tuple(asked), tuple(later), tuple(left_out))


def prometheus_url(spec: Mapping[str, Any], declared: Declared) -> str:
    return str(spec.get("url") or declared.prometheus).rstrip("/")


def judge_gates(rollout: Rollout, asked: Sequence[str], world: World) -> list[Verdict]:
    """What every gate that is asked says of one look."""
    shadow = rollout.policy["shadow"]
    return [replace(_judge(rollout, name, world), shadow=name in shadow) for name in asked]


def settle_gates(rollout: Rollout, verdicts: Sequence[Verdict], waited: float, deadline: float) -> list[Verdict]:
    """The verdicts once the waiting is taken into account; each gate may have a deadline of its own."""
    gates = rollout.policy["gates"]
    return [settle(verdict, waited, deadline_of(gates[verdict.gate], deadline)) for verdict in verdicts]


def _judge(rollout: Rollout, name: str, world: World) -> Verdict:
    spec, store, database = rollout.policy["gates"][name], world.store, world.database
    if name in (gate_lease.GATE, gate_freeze.GATE, gate_approval.GATE):
        return (
            silent(name, "etcd", store) if isinstance(store, str) else _judge_store(rollout, name, spec, store, world)
        )
    if name == gate_database.GATE:
        return (
            silent(name, "PostgreSQL", database) if isinstance(database, str) else gate_database.judge(spec, database)
        )
    if name == gate_window.GATE:
        step = rollout.step
        facts = gate_window.WindowFacts(world.now, step["index"], step.get("bake", 0), rollout.began, rollout.override)
        return gate_window.judge(spec, facts)
    if name == gate_capacity.GATE:
        return gate_capacity.judge(spec, CapacityFacts(rollout.hosts, rollout.step["hosts"], rollout.rooms))
    if name == gate_prometheus.GATE:
        return gate_prometheus.judge(spec, world.prometheus[rollout.name])
    if name == gate_command.GATE:
        return gate_command.judge(spec, world.commands[rollout.name])
    raise GateError(f"gate {name} can't be asked before a step")


def _judge_store(rollout: Rollout, name: str, spec: Mapping[str, Any], store: Store, world: World) -> Verdict:
    if name == gate_lease.GATE:
        lease, held = store.leases.get(rollout.name, (None, None))
        return gate_lease.judge(spec, gate_lease.LeaseFacts(lease, held, rollout.token))
    if name == gate_freeze.GATE:
        return gate_freeze.judge(spec, gate_freeze.FreezeFacts(store.freeze))
    facts = gate_approval.ApprovalFacts(
        store.approvals.get(rollout.name), rollout.name, rollout.release, rollout.person, world.now
    )
    return gate_approval.judge(spec, facts)
