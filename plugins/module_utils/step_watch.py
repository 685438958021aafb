# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one load balancer sees of a step, and what it makes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.access_log import (
    CANARY,
    Counts,
    Request,
    arm_of,
    counter_rise,
)
from ansible_collections.nectar.backend.plugins.module_utils.gate_compare import (
    BEFORE,
    Watch,
    arms_from_data,
    arms_to_data,
)
from ansible_collections.nectar.backend.plugins.module_utils.gate_http import SAMPLES, HttpFacts, Sample
from ansible_collections.nectar.backend.plugins.module_utils.gate_http import judge as judge_http
from ansible_collections.nectar.backend.plugins.module_utils.gates import FAIL, PASS, Verdict, worst

WATCHING = "watching"
# Looks, a second apart, after which a server that is down is not just slow.
DOWN_LOOKS = 3
Counters = Mapping[int, Mapping[str, Mapping[str, int]]]


class StepWatch:
    """Everything known of one deployment's step on this load balancer. `began` is when its weights took effect."""

    def __init__(self, deployment: Mapping[str, Any], began: float) -> None:
        self.deployment, self.began = deployment, began
        self.name, self.slot, self.step = deployment["name"], deployment["slot"], deployment["step"]
        policy = deployment.get("policy") or {}
        self.gates = {gate: policy[gate] or {} for gate in ("http", "compare") if policy.get(gate) is not None}
        self.shadow = policy.get("shadow") or ()
        self.watch = Watch(self.gates.get("compare", {}), began, counters=True)
        self.samples: list[Sample] = []
        self.peers: dict[str, Any] = {}
        self.counters: Counters | None = None
        self.judged_by_others: Verdict | None = None
        self.down_looks = 0

    @property
    def ends(self) -> float:
        """When the step has been watched long enough."""
        return self.began + float(self.step.get("bake", 0))

    def see(self, request: Request) -> None:
        """Count a line of the access log, if it is of this step."""
        arm = arm_of(request, self.name, self.slot, self.step["hosts"], self.step["share"])
        if arm:
            self.watch.add(arm, request)

    def count(self, counters: Counters, now: float) -> None:
        """Charge failed attempts from the servers' counters, by worker; those of the warm-up are nobody's."""
        if self.counters is not None:
            for pid, servers in counters.items():
                for server, after in servers.items():
                    before = self.counters.get(pid, {}).get(server, {})
                    rise = counter_rise(before, after)
                    host, _dash, slot = server.rpartition("-")
                    if (arm := self._arm(host, slot)) and (rise is None or any(rise.values())):
                        self.watch.charge(arm, rise)
        if now >= self.watch.counted_from:
            self.counters = counters

    def _arm(self, host: str, slot: str) -> str | None:
        asked = Request(0.0, self.name, host, slot, 0, None, 0, False, "")
        return arm_of(asked, self.name, self.slot, self.step["hosts"], self.step["share"])

    def hear(self, peers: Mapping[str, Any]) -> None:
        """Take in what the other load balancers say of the same step; what they failed fails here, too."""
        self.peers = {
            peer: state
            for peer, state in peers.items()
            if (state.get("token"), state.get("step")) == (self.deployment["token"], self.step["index"])
        }
        for peer, state in self.peers.items():
            if state.get("verdict") == FAIL and self.judged_by_others is None:
                says = f"{peer}: {state.get('reason', '')}"
                self.judged_by_others = Verdict(state.get("gate") or "compare", FAIL, says, {"peer": peer})

    def check_down(self, down: Collection[str]) -> None:
        """Notice that health checks keep the new slot from getting requests: without them there is nothing to compare."""
        ours = sorted({f"{host}-{self.slot}" for host in self.step["hosts"]} & set(down))
        self.down_looks = self.down_looks + 1 if ours else 0
        if self.down_looks >= DOWN_LOOKS and self.judged_by_others is None:
            self.judged_by_others = Verdict("http", FAIL, f"health checks find {', '.join(ours)} down", {"down": ours})

    def withdraw(self, reason: str) -> None:
        """Note that the step isn't there any more."""
        self.judged_by_others = Verdict("lease", FAIL, reason)

    def verdicts(self, *, final: bool) -> list[Verdict]:
        """Judge what is known; before the end, what isn't known yet holds."""
        found = [self.judged_by_others] if self.judged_by_others else []
        if "http" in self.gates:
            facts = HttpFacts(self.samples, self.deployment["revision"])
            found.append(self._shadowed(judge_http(self.gates["http"], facts)))
        if "compare" in self.gates:
            found.append(self._shadowed(self.watch.verdict(self._others(), final)))
        return found

    def _others(self) -> Iterable[Mapping[str, Counts]]:
        arms = [arms_from_data(state["arms"]) for state in self.peers.values() if state.get("arms")]
        before = self.deployment.get("before")
        return [*arms, {BEFORE: Counts.from_data(before)}] if before else arms

    def _shadowed(self, verdict: Verdict) -> Verdict:
        return replace(verdict, shadow=self.shadow is True or verdict.gate in (self.shadow or ()))

    def state(self, verdicts: Iterable[Verdict], *, final: bool = False) -> dict[str, Any]:
        """Return what to tell the other load balancers."""
        verdicts = list(verdicts)
        sum_of_all = worst(verdicts)
        failed = [item for item in verdicts if item.verdict == FAIL and not item.shadow]
        return {
            "token": self.deployment["token"],
            "step": self.step["index"],
            "verdict": FAIL if failed else sum_of_all if final and sum_of_all == PASS else WATCHING,
            "reason": "; ".join(item.reason for item in failed),
            "gate": failed[0].gate if failed else "",
            "arms": arms_to_data(self.watch.arms),
        }

    def synthetic_due(self, now: float) -> int:
        """Return how many requests of our own each arm should have got by now, where people send too few."""
        synthetic = self.deployment.get("synthetic") or {}
        wanted, seconds = int(synthetic.get("requests", 0)), float(synthetic.get("seconds", 0))
        if not wanted or now < self.watch.counted_from:
            return 0
        share = min(1.0, (now - self.watch.counted_from) / seconds) if seconds else 1.0
        return int(wanted * share)

    def samples_due(self, now: float) -> int:
        """Return how many probes of the new slot should have been sent by now: all that the gate wants, in the first half of the step."""
        if "http" not in self.gates:
            return 0
        wanted = int(self.gates["http"].get("samples", SAMPLES))
        half = (self.ends - self.began) / 2
        return int(wanted * min(1.0, (now - self.began) / half)) if half > 0 else wanted

    def arm_hosts(self, arm: str) -> tuple[str, list[str]]:
        """Return the slot and the hosts that requests of our own go to."""
        other = next(slot for slot in self.deployment["ports"] if slot != self.slot)
        return (self.slot if arm == CANARY else other), list(self.step["hosts"])
