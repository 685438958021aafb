# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rollout does in which step, what came of it, and how that is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.access_log import BASELINE, Counts
from ansible_collections.nectar.backend.plugins.module_utils.gate_compare import (
    BEFORE,
    GATE,
    WORSE,
    add_arms,
    arms_from_data,
    judge,
)
from ansible_collections.nectar.backend.plugins.module_utils.gate_database import BACKUP
from ansible_collections.nectar.backend.plugins.module_utils.gates import FAIL

# A deployment that serves nothing yet has nobody to compare with, and nobody who could be hurt.
AT_ONCE = 100
# What can be told only by whoever sends the requests on.
WATCHED_GATES = ("http", "compare")


def planned_steps(
    hosts: Sequence[str], resolved: Iterable[Mapping[str, Any]], is_replacement: bool
) -> list[dict[str, Any]]:
    """Return a deployment's steps, each with the hosts whose slot starts in it.

    `resolved` are the steps of its policy over `hosts`. What replaces nothing goes to all hosts in one step that nobody watches.
    """
    if not hosts:
        return []
    if not is_replacement:
        return [{"index": 0, "hosts": list(hosts), "share": AT_ONCE, "bake": 0, "opens": list(hosts), "watched": False}]
    steps: list[dict[str, Any]] = []
    started: list[str] = []
    for step in resolved:
        opens = [host for host in step["hosts"] if host not in started]
        started += opens
        steps.append({**step, "opens": opens, "watched": True})
    return steps


def steps_at(
    deployments: Iterable[Mapping[str, Any]],
    index: int,
    leases: Mapping[str, Mapping[str, Any]] | None = None,
    policy: str = "rollout",
) -> list[dict[str, Any]]:
    """Return the deployments that have such a step, each with it as `step`, the hosts that start in it as `opens`, and what its gates need.

    `leases` are what the lease's module answered: who holds each, since when, and by which token. `policy` is whose gates are meant:
    those of the `rollout`, or those of its `migration`.
    """
    return [
        with_lease(
            {
                **deployment,
                "step": deployment["steps"][index],
                "opens": deployment["steps"][index]["opens"],
                "policy": deployment[policy],
                "capacity": _room_for(deployment, deployment["steps"][index]["opens"]),
            },
            leases or {},
        )
        for deployment in deployments
        if index < len(deployment["steps"])
    ]


def watch_entries(
    steps: Iterable[Mapping[str, Any]], synthetic_requests: int, before: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return what load balancers need of deployments that they watch: the gates that only they can ask, and how much to ask themselves.

    `synthetic_requests` go to each deployment over its bake time, for those that nobody else asks. `before` is what earlier steps counted
    of the former release: once the new one gets all requests, there is nothing else to compare it with.
    """
    return [
        {
            **step,
            "policy": {
                "shadow": step["policy"]["shadow"],
                **{gate: step["policy"]["gates"][gate] for gate in WATCHED_GATES if gate in step["policy"]["gates"]},
            },
            "synthetic": {"requests": synthetic_requests, "seconds": step["step"]["bake"]},
            **({"before": before[step["name"]]} if before and step["name"] in before else {}),
        }
        for step in steps
    ]


def _room_for(deployment: Mapping[str, Any], opens: Iterable[str]) -> dict[str, Any]:
    """Return what is known of each server; a slot that runs since an earlier step takes nothing more."""
    return {
        host: {**room, "takes": room["takes"] if host in opens else 0}
        for host, room in (deployment.get("capacity") or {}).items()
    }


def add_baselines(before: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Add to the former releases' counts what the load balancers counted of them in a step."""
    counted = dict(before)
    for answer in answers.values():
        for name, result in (answer.get("results") or {}).items():
            baseline = (result.get("arms") or {}).get(BASELINE)
            if baseline:
                known = Counts.from_data(counted[name]) if name in counted else Counts()
                counted[name] = (known + Counts.from_data(baseline)).to_data()
    return counted


def summed_failures(
    steps: Iterable[Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the deployments whose new release is worse by what all load balancers counted together, and why.

    Each watches for the same time, and the last counts of the others may reach none of them in it.
    """
    failures = {}
    for step in steps:
        policy = step["policy"]
        results = [(answer.get("results") or {}).get(step["name"]) or {} for answer in answers.values()]
        counted = [arms_from_data(result["arms"]) for result in results if result.get("arms")]
        if GATE in policy["shadow"] or GATE not in policy["gates"] or not counted:
            continue
        if before and step["name"] in before:
            counted.append({BEFORE: Counts.from_data(before[step["name"]])})
        verdict = judge(policy["gates"][GATE] or {}, add_arms(counted))
        if verdict.verdict == FAIL and verdict.evidence["outcome"] == WORSE:
            failures[step["name"]] = f"all load balancers together: gate {GATE} says {FAIL}: {verdict.reason}"
    return failures


def blamed_releases(
    steps: Iterable[Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the deployments whose release is to blame for what happened while it was watched: a gate said fail.

    A load balancer that couldn't watch, or that nobody heard of, says nothing about a release.
    """
    steps = list(steps)
    summed = summed_failures(steps, answers, before)
    results = {
        step["name"]: [(answer.get("results") or {}).get(step["name"]) or {} for answer in answers.values()]
        for step in steps
    }
    return [
        name
        for name, found in results.items()
        if name in summed or any(result.get("verdict") == FAIL and not result.get("error") for result in found)
    ]


def former_slots(deployments: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the deployments that migrated under a slot that serves, each with that slot: it must bear the new schema until it is relieved.

    Of those that are declared not to be backward compatible nobody asks it.
    """
    return [
        {**deployment, "slot": deployment["former"], "switches": False}
        for deployment in deployments
        if deployment["former"] and deployment["migrate"] and deployment.get("backward_compatible", True)
    ]


def with_leases(
    deployments: Iterable[Mapping[str, Any]], leases: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return deployments with what their rollouts' leases say."""
    return [with_lease(deployment, leases) for deployment in deployments]


def with_lease(deployment: Mapping[str, Any], leases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a deployment with what its rollout's lease says of it."""
    lease = leases.get(deployment["name"]) or {}
    known = {"token": lease.get("token"), "person": lease.get("person"), "began": lease.get("since")}
    return {**deployment, **{key: value for key, value in known.items() if value is not None}}


def verdict_failures(
    steps: Iterable[Mapping[str, Any]], answers: Mapping[str, Mapping[str, Any]], silent: str = ""
) -> dict[str, str]:
    """Return the deployments that a gate stopped, by what the hosts that asked it answered.

    Who holds at the deadline has failed: a rollout that can't go on goes back. Where nobody answered for a deployment, that stops it too if
    `silent` says what to call it.
    """
    failures: dict[str, list[str]] = {}
    for step in steps:
        found = {host: _result_of(step["name"], answer) for host, answer in answers.items()}
        results = {host: result for host, result in found.items() if result}
        if silent and not results:
            failures[step["name"]] = [silent]
        for host, result in results.items():
            if result.get("error") or result.get("verdict", "pass") != "pass":
                failures.setdefault(step["name"], []).append(f"{host}: {explain(result)}")
    return {name: "\n".join(dict.fromkeys(reasons)) for name, reasons in failures.items()}


def _result_of(name: str, answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a host answered for a deployment; a module that failed altogether failed for each."""
    if "results" not in answer and answer.get("msg") and not answer.get("unreachable"):
        return {"error": _last_words(answer["msg"])}
    return (answer.get("results") or {}).get(name)


def _last_words(message: str) -> str:
    """A module that was ended, as by a host without memory, leaves the traceback of whoever waited for it."""
    if not message.startswith("Traceback"):
        return message
    last = message.strip().splitlines()[-1].strip()
    return f"the module ended without an answer ({last}); `journalctl --dmesg` there says whether memory ran out"


def explain(result: Mapping[str, Any]) -> str:
    """Say which gates stopped a step, and why."""
    if result.get("error"):
        return str(result["error"])
    blocking = [
        verdict for verdict in result.get("verdicts", ()) if verdict["verdict"] != "pass" and not verdict.get("shadow")
    ]
    said = "; ".join(f"gate {entry['gate']} says {entry['verdict']}: {entry['reason']}" for entry in blocking)
    return said or str(result.get("reason") or f"the verdict was {result.get('verdict')}")


def verdict_lines(answers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what each gate said, a line each, and what was not asked."""
    lines: list[str] = []
    for host, answer in answers.items():
        for name, result in (answer.get("results") or {}).items():
            lines += [f"{name}: {_verdict_line(entry, host)}" for entry in result.get("verdicts", ())]
            lines += [f"{name}: {said}" for said in (*result.get("later", ()), *result.get("left_out", ()))]
    return lines


def _verdict_line(entry: Mapping[str, Any], host: str) -> str:
    return (
        f"{entry['gate']} {entry['verdict']}{' (shadow)' if entry.get('shadow') else ''} on {host}: {entry['reason']}"
    )


def plan_lines(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say what a rollout is about to do, a line a step."""
    lines: list[str] = []
    for step in steps:
        if step["hosts"]:
            lines.append(f"{step['name']}: {step['release']}, revision {step['revision']}, into slot {step['slot']}")
            if step.get("origin"):
                lines.append(f"  from {step['origin']}, in this run alone: the next deploy goes by the registry again")
            if step["former"] and step.get("migrate_host") and not step.get("backward_compatible", True):
                lines.append(
                    "  migrates in a way that the former release can't bear: it needs the window and an approval"
                )
            # Beyond what its steps ask, so nobody reads it in the registry.
            if step.get("migrate_host") and step.get("migration", {}) != step.get("rollout", {}):
                lines.append(f"  its migration waits for a proven backup of the last {BACKUP} h")
            lines += [f"  {number}. {_step_line(entry)}" for number, entry in enumerate(step["steps"], 1)]
    return lines


def _step_line(step: Mapping[str, Any]) -> str:
    where = " and ".join(step["hosts"])
    if not step["watched"]:
        return f"all requests at once on {where}"
    return f"{step['share']} % of the requests on {where}, watched for {step['bake']} s"


def rollout_outcomes(
    steps: Iterable[Mapping[str, Any]],
    failed: Mapping[str, str],
    blamed: Iterable[str],
    leases: Mapping[str, Mapping[str, Any]],
    now: str,
) -> list[dict[str, Any]]:
    """Return how each deployment's rollout ended, as etcd is to remember it, and in a line for a person.

    A release is marked bad only where it is to blame, which `blamed` says: a shut window or a dead host says nothing about it.
    """
    return [
        _outcome(step, failed.get(step["name"], ""), step["name"] in blamed, leases.get(step["name"]) or {}, now)
        for step in steps
        if step["hosts"]
    ]


def _outcome(
    step: Mapping[str, Any], error: str, is_to_blame: bool, lease: Mapping[str, Any], now: str
) -> dict[str, Any]:
    name, what = step["name"], {"release": step["release"], "revision": step["revision"]}
    seconds = _seconds(lease.get("since"), now)
    took = "" if seconds is None else f" in {seconds:.0f} s"
    end = {"seconds": seconds, "slot": step["slot"], **what}
    told: dict[str, Any] = {"name": name, "token": lease.get("token")}
    if not error:
        line = f"{name}: promoted {step['release']}, revision {step['revision']}, slot {step['slot']}{took}"
        return {**told, "good": what, "finished": {"result": "promoted", **end}, "line": line}
    reason = error.splitlines()[0]
    back = f"fallen back to slot {step['former']}" if step["former"] else "nothing was released"
    told |= {
        "finished": {"result": "fallen back", "reason": reason, **end},
        "line": f"{name}: {back}{took}, for {reason}",
    }
    return {**told, "bad": {**what, "reason": reason}} if is_to_blame else told


def _seconds(since: str | None, now: str) -> float | None:
    """Return the seconds between two moments in ISO 8601, if both are known."""
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds() if since and now else None
