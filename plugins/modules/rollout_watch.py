#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give new slots their share of requests, watch them, and take the share back at once when they fail."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_watch
short_description: Give new slots their share of requests, watch them, and take the share back at once when they fail
version_added: "0.1.0"
description:
  - Opens one step of each deployment on this load balancer, weights first, and then reads the access log, asks the new slots itself, and judges
    both slots by the gates C(http) and C(compare) until the step's C(bake) is over.
  - What fails is taken back here and now, without asking anybody. The other load balancers hear of it by the controller's heartbeat connection,
    and this one hears of theirs.
  - The share stays where nothing fails; the next step, M(nectar.backend.deployment_traffic), or the loss of the heartbeat ends it.
author:
  - Nectar Backend maintainers (@nectar)
extends_documentation_fragment:
  - nectar.backend.balancer
options:
  deployments:
    description:
      - The deployments, each as M(nectar.backend.deployment_plan) returns it in C(steps), with C(token), C(step) (C(index), C(hosts), C(share), C(bake)),
        C(policy) (C(http) and C(compare), either left out where it doesn't judge, and C(shadow)), C(synthetic) (C(requests), C(seconds)) and
        C(before), the counts of the old release in earlier steps.
    type: list
    elements: dict
    required: true
  identity_port:
    description: The port on the application servers that tells which revision a slot runs.
    type: int
    default: 8010
attributes:
  check_mode:
    description: Says which weights would change; what needs the new slot is not yet measurable.
    support: full
  diff_mode:
    description: Shows the fragments.
    support: full
"""

EXAMPLES = r"""
- name: Take a step, and watch it
  nectar.backend.rollout_watch:
    deployments:
      - "{{ plan.steps.production | combine({'token': 1234, 'step': step, 'policy': {'http': {}, 'compare': {}}}) }}"
"""

RETURN = r"""
results:
  description:
    - By deployment the C(verdict), all C(verdicts) with their evidence, the counts of both C(arms) on this load balancer, the C(seconds) it was watched,
      whether it was C(reverted), and in how many C(milliseconds); C(judged) is when the verdict was known, in seconds since 1970, and C(error) is
      there where the step could not be opened.
  type: dict
  returned: success
  sample:
    production:
      verdict: pass
      verdicts: [{gate: compare, verdict: pass, reason: "no worse", evidence: {}, shadow: false}]
      arms: {canary: {requests: 120, errors: 0}, baseline: {requests: 1080, errors: 1}}
      seconds: 30.4
      reverted: false
      milliseconds: null
      judged: 1769874300.417
"""

import http.client
import json
import os
import queue
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nectar.backend.plugins.module_utils.access_log import BASELINE, CANARY, Request, parse_line
from ansible_collections.nectar.backend.plugins.module_utils.gate_compare import arms_to_data
from ansible_collections.nectar.backend.plugins.module_utils.gate_http import Sample
from ansible_collections.nectar.backend.plugins.module_utils.gates import (
    FAIL,
    HOLD,
    NOT_MEASURABLE,
    PASS,
    Verdict,
    worst,
)
from ansible_collections.nectar.backend.plugins.module_utils.haproxy_runtime import parse_counters, parse_down
from ansible_collections.nectar.backend.plugins.module_utils.rollout_relay import Relay
from ansible_collections.nectar.backend.plugins.module_utils.slot_host import DEPLOYMENTS_ARGUMENT
from ansible_collections.nectar.backend.plugins.module_utils.slots import SlotError
from ansible_collections.nectar.backend.plugins.module_utils.step_watch import Counters, StepWatch
from ansible_collections.nectar.backend.plugins.module_utils.traffic import has_web, plan_revert, plan_steps
from ansible_collections.nectar.backend.plugins.module_utils.traffic_host import (
    BALANCER_ARGUMENTS,
    Balancer,
    ask_master,
    balancer_from,
    read_files,
    read_traffic,
    read_workers,
    switch_weights,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **BALANCER_ARGUMENTS,
    "deployments": DEPLOYMENTS_ARGUMENT,
    "identity_port": {"type": "int", "default": 8010},
}
LOG_COMMAND = ("journalctl", "--namespace=haproxy", "--output=cat", "--follow", "--lines=0")
TICK = 0.05
LOOK_SECONDS = 0.1
TELL_SECONDS = 0.2
COUNT_SECONDS = 1.0
# The journal shows a line up to a quarter of a second late.
LOG_DELAY = 0.4
# Seconds beyond the step that answers to our own requests are waited for.
LATE_SECONDS = 6.0
REQUEST_SECONDS = 5.0


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    balancer = balancer_from(module.params)
    deployments = [entry for entry in module.params["deployments"] if has_web(entry)]
    results = {entry["name"]: result(PASS, []) for entry in module.params["deployments"] if not has_web(entry)}
    names = [entry["name"] for entry in deployments]
    try:
        draft = plan_steps(deployments, read_files(balancer, names))
        if module.check_mode:
            results |= {name: foreseen(draft.refused.get(name)) for name in names}
        else:
            results |= Watching(balancer, module.params["identity_port"]).run(deployments)
    except (SlotError, OSError) as error:
        module.fail_json(msg=f"Cannot watch the step: {error}")
    module.exit_json(changed=bool(draft.changed), results=results, diff=draft.diff)


def result(verdict: str, verdicts: Sequence[Verdict], **more: Any) -> dict[str, Any]:
    """Return what is said of a deployment."""
    return {
        "verdict": verdict,
        "verdicts": [item.data() for item in verdicts],
        "arms": {},
        "seconds": 0.0,
        "reverted": False,
        "milliseconds": None,
        "judged": None,
        **more,
    }


def foreseen(refusal: str | None) -> dict[str, Any]:
    """Return what check mode says."""
    if refusal:
        return result(FAIL, [], error=refusal)
    return result(HOLD, [Verdict(gate, HOLD, NOT_MEASURABLE) for gate in ("http", "compare")])


class Watching:
    """The steps that are open here, each until it is over or has failed."""

    def __init__(self, balancer: Balancer, identity_port: int) -> None:
        self.balancer, self.identity_port = balancer, identity_port
        self.results: dict[str, dict[str, Any]] = {}
        self.probers: dict[str, Prober] = {}
        self.told: dict[str, dict[str, Any]] = {}

    def run(self, deployments: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Open the steps, and watch them to their ends."""
        with following_log() as log:
            watches = self.open(deployments)
            due = dict.fromkeys(("look", "tell", "count"), 0.0)
            try:
                while watches:
                    for request in log.requests(TICK):
                        for watch in watches:
                            watch.see(request)
                    now = time.time()
                    looks = {kind for kind, when in due.items() if now >= when}
                    due |= {kind: now + PERIODS[kind] for kind in looks}
                    for watch in watches:
                        self.attend(watch, now, looks)
                    watches = [watch for watch in watches if watch.name not in self.results]
            except (SlotError, OSError) as error:
                for watch in watches:
                    verdict = Verdict("compare", FAIL, f"this load balancer can't watch any more: {error}")
                    self.finish(watch, [verdict])
            finally:
                for prober in self.probers.values():
                    prober.stop()
        return self.results

    def open(self, deployments: Sequence[dict[str, Any]]) -> list[StepWatch]:
        """Give the new slots their shares; return the steps that are open now."""
        names = [entry["name"] for entry in deployments]
        for name in names:
            Relay(self.balancer.run, name).beat()
        problem = ""
        try:
            switch, steered = switch_weights(self.balancer, names, lambda files: plan_steps(deployments, files))
            refused = dict(switch.refused)
            if steered.lacking:
                problem = f"HAProxy doesn't know {', '.join(steered.lacking)}; run site.yml for the load balancers"
        except SlotError as error:
            refused, problem = {}, str(error)
        watches = [StepWatch(entry, time.time()) for entry in deployments if entry["name"] not in refused]
        self.results |= {name: result(FAIL, [], error=reason) for name, reason in refused.items()}
        for watch in watches:
            if problem:
                took = self.take_back(watch)
                self.results[watch.name] = result(FAIL, [], error=problem, reverted=True, milliseconds=took)
            else:
                self.probers[watch.name] = Prober(watch, self.identity_port)
                self.tell(watch, watch.state([]))
        return [watch for watch in watches if watch.name not in self.results]

    def attend(self, watch: StepWatch, now: float, looks: set[str]) -> None:
        """Take in what is new of a step, judge it, and act on it."""
        self.probers[watch.name].deliver()
        is_over = now >= watch.ends + LOG_DELAY and (
            self.probers[watch.name].is_idle(now) or now >= watch.ends + LATE_SECONDS
        )
        if "count" in looks or is_over:
            counters, down = read_statistics(self.balancer, watch.name)
            watch.count(counters, now)
            watch.check_down(down)
            self.check_note(watch)
        if not is_over and "look" not in looks:
            return
        watch.hear(Relay(self.balancer.run, watch.name).peers())
        verdicts = watch.verdicts(final=is_over)
        if worst(verdicts) == FAIL or is_over:
            self.finish(watch, verdicts)
        elif "tell" in looks:
            self.tell(watch, watch.state(verdicts))

    def check_note(self, watch: StepWatch) -> None:
        """Notice that somebody has ended the step."""
        note = read_traffic(self.balancer.state, watch.name) or {}
        step = note.get("step") or {}
        if (note.get("token"), step.get("index")) != (watch.deployment["token"], watch.step["index"]):
            reason = (note.get("withdrawn") or {}).get("reason", "another run has ended it")
            watch.withdraw(f"the step was withdrawn here: {reason}")

    def finish(self, watch: StepWatch, verdicts: Sequence[Verdict]) -> None:
        """End the watch: a fail is taken back before anything is said of it."""
        verdict, judged = worst(verdicts), time.time()
        took = self.take_back(watch) if verdict == FAIL else None
        self.tell(watch, watch.state(verdicts, final=True))
        self.results[watch.name] = result(
            verdict,
            verdicts,
            arms=arms_to_data(watch.watch.arms),
            seconds=round(time.time() - watch.began, 1),
            reverted=verdict == FAIL,
            milliseconds=took,
            judged=round(judged, 3),
        )

    def take_back(self, watch: StepWatch) -> int:
        """Give all requests back to the promoted slot; return the milliseconds until every worker has done it."""
        began = time.monotonic()
        switch_weights(self.balancer, [watch.name], lambda files: plan_revert([watch.deployment], files))
        return round((time.monotonic() - began) * 1000)

    def tell(self, watch: StepWatch, state: dict[str, Any]) -> None:
        """Let the other load balancers know, if there is anything new."""
        if self.told.get(watch.name) != state:
            Relay(self.balancer.run, watch.name).say(state)
            self.told[watch.name] = state


PERIODS = {"look": LOOK_SECONDS, "tell": TELL_SECONDS, "count": COUNT_SECONDS}


class Log:
    """The access log as it grows."""

    def __init__(self, stream: int) -> None:
        self.stream, self.rest = stream, b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(stream, selectors.EVENT_READ)

    def requests(self, seconds: float) -> list[Request]:
        """Return what was logged, or nothing when nothing was for a while."""
        if not self.selector.select(seconds):
            return []
        part = os.read(self.stream, 1 << 18)
        if not part:
            raise OSError("the access log ended; is systemd-journald@haproxy running?")
        *lines, self.rest = (self.rest + part).split(b"\n")
        return [request for line in lines if (request := parse_line(line))]


class Follower(subprocess.Popen[bytes]):
    """What writes the access log down here as it grows; run_command would wait for its end."""

    def __init__(self) -> None:
        super().__init__(LOG_COMMAND, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@contextmanager
def following_log() -> Iterator[Log]:
    """Follow the access log from now on."""
    with Follower() as process:
        try:
            if process.stdout is None:
                raise OSError("the access log can't be read")
            yield Log(process.stdout.fileno())
        finally:
            process.terminate()


def read_statistics(balancer: Balancer, name: str) -> tuple[Counters, set[str]]:
    """Return the counters of a deployment's servers by worker, and the servers that the current worker has found down."""
    counters: dict[int, dict[str, dict[str, int]]] = {}
    down: set[str] = set()
    for worker in read_workers(balancer) or []:
        with suppress(OSError):
            text = ask_master(balancer, f"@!{worker.pid} show stat be_{name} 4 -1")
            counters[worker.pid] = parse_counters(text)
            down |= parse_down(text) if worker.current else set()
    return counters, down


class Prober:
    """Sends requests of our own to the slots, straight and few, in a thread that a slot which hangs may hold up."""

    def __init__(self, watch: StepWatch, identity_port: int) -> None:
        self.watch, self.identity_port = watch, identity_port
        self.sent = {"samples": 0, CANARY: 0, BASELINE: 0}
        self.found: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self.over.set()

    def work(self) -> None:
        """Send what is due."""
        while not self.over.is_set():
            now = time.time()
            if self.sent["samples"] < self.watch.samples_due(now):
                self.found.put(("sample", self.sample()))
                self.sent["samples"] += 1
                continue
            for arm in (CANARY, BASELINE):
                if self.lacks(arm, now):
                    self.found.put((arm, self.request(arm)))
                    self.sent[arm] += 1
            self.over.wait(TICK)

    def lacks(self, arm: str, now: float) -> bool:
        """Say whether people have sent an arm less than is needed."""
        due = self.watch.synthetic_due(now)
        return self.sent[arm] < due and self.watch.watch.arms[arm].requests < due

    def deliver(self) -> None:
        """Hand over what came back, in the thread that judges."""
        while not self.found.empty():
            kind, what = self.found.get()
            if kind == "sample":
                self.watch.samples.append(what)
            else:
                self.watch.watch.add(kind, what)

    def is_idle(self, now: float) -> bool:
        """Say whether all that is due was sent and delivered."""
        is_sampled = len(self.watch.samples) >= self.watch.samples_due(now)
        return is_sampled and self.found.empty() and not self.lacks(CANARY, now) and not self.lacks(BASELINE, now)

    def sample(self) -> Sample:
        """Ask the new slot for its page and for who it is."""
        slot, hosts = self.watch.arm_hosts(CANARY)
        host = hosts[self.sent["samples"] % len(hosts)]
        status, taken, problem = self.ask(
            host, self.watch.deployment["ports"][slot], self.watch.deployment["ready_path"]
        )
        revision = ""
        if status:
            address = self.watch.deployment["addresses"][host]
            try:
                found, body = get(address, self.identity_port, f"/{self.watch.name}/{slot}", "identity")
                revision = str(json.loads(body).get("revision", "")) if found == http.client.OK else ""
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                problem = f"its identity can't be read: {error}"
        return Sample(status, taken, revision, problem, f"{host}-{slot}")

    def request(self, arm: str) -> Request:
        """Ask a slot as people do."""
        slot, hosts = self.watch.arm_hosts(arm)
        host = hosts[self.sent[arm] % len(hosts)]
        path = self.watch.deployment["ready_path"]
        status, _taken, _problem = self.ask(host, self.watch.deployment["ports"][slot], path)
        state = "--" if status else "SC"
        # Without its time: it isn't what people ask for, so only whether it failed can be compared.
        return Request(time.time(), self.watch.name, host, slot, status or 503, None, 0, False, state, "GET", path)

    def ask(self, host: str, port: int, path: str) -> tuple[int, float, str]:
        """Send one request; return its status, its milliseconds, and what was wrong."""
        began = time.monotonic()
        try:
            status, _body = get(
                self.watch.deployment["addresses"][host], port, path, self.watch.deployment["server_name"]
            )
            return status, (time.monotonic() - began) * 1000, ""
        except (OSError, http.client.HTTPException) as error:
            return 0, (time.monotonic() - began) * 1000, str(error) or type(error).__name__


def get(address: str, port: int, path: str, name: str) -> tuple[int, bytes]:
    """Ask a slot for a path."""
    connection = http.client.HTTPConnection(address, port, timeout=REQUEST_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": name, "X-Forwarded-Proto": "https", "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
