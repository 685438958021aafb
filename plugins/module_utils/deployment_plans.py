# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a deploy will do, decided before any host is touched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.gates import GateError
from ansible_collections.nectar.backend.plugins.module_utils.registry_applications import MIGRATION_FIELDS
from ansible_collections.nectar.backend.plugins.module_utils.releases import ReleaseError, Target, make_target
from ansible_collections.nectar.backend.plugins.module_utils.revisions import check_application, missing_secrets
from ansible_collections.nectar.backend.plugins.module_utils.rollout_policy import (
    careful_policy,
    full_policy,
    migration_policy,
    resolve_steps,
)
from ansible_collections.nectar.backend.plugins.module_utils.rollout_steps import plan_lines, planned_steps
from ansible_collections.nectar.backend.plugins.module_utils.slots import (
    SLOTS,
    HostState,
    Record,
    Step,
    content_of,
    is_current,
    newest,
    parse_data,
    plan_return,
    plan_step,
    read_content,
    waves,
)
from ansible_collections.nectar.backend.plugins.module_utils.units import Limits, migration_times

DEFAULT_PATH = "/"


class PlanError(ValueError):
    """Why nothing will be deployed: every reason, not the first."""


@dataclass(frozen=True)
class Server:
    """An application server: where its slots are reached, and what it said, if it did."""

    address: str
    info: Mapping[str, Any] | None


def common_target(servers: Mapping[str, Server]) -> Target:
    """Return what all servers that answered run; one release must run on all of them."""
    found = {(server.info["debian"], server.info["machine"]) for server in servers.values() if server.info}
    if not found:
        raise PlanError("no application server answered; is the environment up?")
    if len(found) > 1:
        shown = ", ".join(
            f"{host}: Debian {server.info['debian']} on {server.info['machine']}"
            for host, server in servers.items()
            if server.info
        )
        raise PlanError(
            f"application servers differ ({shown}), and a release is built for one of them; upgrade the others first"
        )
    try:
        return make_target(*found.pop())
    except ReleaseError as error:
        raise PlanError(str(error)) from error


def check_deployment(
    deployment: Mapping[str, Any], applications: Mapping[str, Any], secrets: Mapping[str, str]
) -> list[str]:
    """Say why a deployment can't be deployed."""
    name, application = deployment["name"], applications.get(deployment["application"])
    if application is None:
        return [
            f"{name}: application {deployment['application']} is not in the registry; known are {', '.join(sorted(applications))}"
        ]
    problems = check_application(
        application, merged_environment(deployment, application), bool(deployment.get("database"))
    )
    if missing := missing_secrets(deployment, application, secrets):
        problems.append(
            f"secrets {', '.join(missing)} are missing under deployments.{name}; make or add them before a deploy"
        )
    if re.search(rf"-({'|'.join(SLOTS)})$", name):
        problems.append("the name ends like that of a slot; rename the deployment")
    if "identity" in application["processes"]:
        problems.append("process identity has the name of what every slot has; rename it")
    return [f"{name}: {problem}" for problem in problems]


def check_migration(deployment: Mapping[str, Any], application: Mapping[str, Any], limits: Limits) -> list[str]:
    """Say which of a migration's timeouts doesn't fit those around it: a wait for a lock, a statement, all migrations; and a request's."""
    if not application.get("migrate"):
        return []
    name, (lock, statement) = deployment["name"], migration_times(application, limits)
    request = (deployment.get("share") or {}).get("statement_timeout") or 0
    longest = statement or limits.migrate_timeout
    problems = []
    if lock < 1:
        problems.append(
            f"migrate_lock_timeout is {lock}; expected at least 1, for requests queue behind a migration that waits"
        )
    if longest > limits.migrate_timeout:
        problems.append(
            f"migrate_statement_timeout is {statement}; expected at most {limits.migrate_timeout}, which all migrations may take together "
            "(rollout_migrate_timeout)"
        )
    if lock >= longest:
        problems.append(
            f"migrate_lock_timeout is {lock}; expected less than {longest}, which the statement that waits may take"
        )
    if request and lock >= request:
        problems.append(
            f"migrate_lock_timeout is {lock}; expected less than {request}, after which the requests that queue behind it fail; "
            "lower it, or raise request_timeout in the budget"
        )
    return [f"{name}: {problem}" for problem in problems]


def one_application(chosen: Mapping[str, Mapping[str, Any]], is_named: bool) -> str:
    """Return the application of the deployments that a given source is for; it must be one, of deployments that somebody named."""
    if not is_named:
        raise PlanError(
            "release is given, and no deployment is; say whose release it is, as in -e deployment=alice or -e member=alice"
        )
    applications = sorted({str(deployment["application"]) for deployment in chosen.values()})
    if len(applications) != 1:
        shown = ", ".join(f"{name} runs {deployment['application']}" for name, deployment in chosen.items())
        raise PlanError(
            f"release is given for deployments of {len(applications)} applications ({shown}); deploy those of one at a time"
        )
    return applications[0]


def merged_environment(deployment: Mapping[str, Any], application: Mapping[str, Any]) -> dict[str, str]:
    """Return the application's environment with what the deployment says otherwise."""
    both = {**(application.get("environment") or {}), **(deployment.get("environment") or {})}
    return {name: str(value) for name, value in both.items()}


def full_deployment(
    deployment: Mapping[str, Any],
    application: Mapping[str, Any],
    servers: Mapping[str, Server],
    release: str,
    backups: bool = False,
) -> dict[str, Any]:
    """Return all about a deployment that slots and load balancers need, secrets apart; `backups` says whether the environment has some."""
    has_web = any(process["type"] == "web" for process in application["processes"].values())
    ready = application.get("ready_path") or application.get("health_path") or DEFAULT_PATH
    return {
        **{key: deployment[key] for key in ("name", "application", "user", "server_name", "url", "ports")},
        "database": deployment.get("database") or "",
        "database_role": deployment.get("database_role") or "",
        "processes": application["processes"],
        "migrate": application.get("migrate") or [],
        **{key: application[key] for key in MIGRATION_FIELDS if key in application},
        "environment": merged_environment(deployment, application),
        "share": share_of(deployment),
        "rollout": full_policy(deployment.get("rollout") or {}),
        "migration": migration_policy(deployment.get("rollout") or {}, backups),
        "ready_path": ready if has_web else "",
        "addresses": {host: servers[host].address for host in deployment["hosts"] if host in servers},
        "release": release,
    }


def share_of(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a slot takes of its deployment's share; nothing where no budget was planned."""
    share = deployment.get("share") or {}
    return {key: share[key] for key in ("workers", "threads", "worker_timeout", "memory", "memory_max") if key in share}


def plan_deployment(
    full: Mapping[str, Any], revision: str, servers: Mapping[str, Server], notes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the deployment with its step: the slot to use, and where there is work."""
    name = full["name"]
    states = {
        host: _state(name, server.info) for host, server in servers.items() if server.info and host in full["addresses"]
    }
    traffic = [Record(name, note["active"], note["generation"]) for note in notes]
    step = plan_step(name, content_of({**full, "revision": revision}), list(full["addresses"]), states, traffic)
    full = {**full, **{policy: _policy_for(step, full, policy) for policy in ("rollout", "migration")}}
    data = _step_data(step, full["migrate"], full["rollout"])
    known = {"floor": _highest_token(notes), "capacity": _capacity(full, servers)}
    return {**full, "revision": revision, **data, **known}


def _policy_for(step: Step, full: Mapping[str, Any], which: str) -> dict[str, Any]:
    """Return the policy by which it, or its migration, goes; a change of the database that what serves can't bear goes with care."""
    policy: dict[str, Any] = full[which]
    if full.get("backward_compatible", True) or not (step.switches and step.former and full["migrate"]):
        return policy
    try:
        return careful_policy(policy)
    except GateError as error:
        raise PlanError(f"{full['name']}: {error}") from error


def plan_rollback(
    full: Mapping[str, Any],
    servers: Mapping[str, Server],
    notes: Sequence[Mapping[str, Any]],
    bad: Mapping[str, str],
    revision: str,
) -> dict[str, Any]:
    """Return the deployment with the step that brings back its last good revision: nothing is built, and nothing migrates.

    What its other slot doesn't hold any more is made anew from what the servers kept.
    """
    name = full["name"]
    states = {
        host: _state(name, server.info) for host, server in servers.items() if server.info and host in full["addresses"]
    }
    traffic = [Record(name, note["active"], note["generation"]) for note in notes]
    step, content, is_held = plan_return(name, list(full["addresses"]), states, traffic, bad, revision)
    way = {"returns": True, "prepared": is_held, "kept": not is_held, "migrate": []}
    return {
        **full,
        **asdict(content),
        **_step_data(step, (), None),
        **way,
        "floor": _highest_token(notes),
        "capacity": {},
    }


def return_line(step: Mapping[str, Any]) -> str:
    """Say where a way back leads, and how."""
    how = "made anew from what the servers kept" if step["kept"] else f"which slot {step['slot']} still holds"
    return f"{step['name']}: back to revision {step['revision']}, {how}"


def _capacity(full: Mapping[str, Any], servers: Mapping[str, Server]) -> dict[str, Any]:
    """Return what a gate may ask of each application server that answered: whether it serves, what is free there, and what a slot takes."""
    answered = {host: info for host in full["addresses"] if (info := servers[host].info)}
    return {
        host: {
            "serving": bool(info["serves"].get(full["name"])),
            "free": info.get("free_memory"),
            "takes": full["share"].get("memory", 0),
        }
        for host, info in answered.items()
    }


def _highest_token(notes: Iterable[Mapping[str, Any]]) -> int:
    """Return the highest token that a load balancer knows of a deployment: what comes next must be above it."""
    return max((note.get("token") or 0 for note in notes), default=0)


def open_steps(steps: Iterable[Mapping[str, Any]], load_balancers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the deployments whose requests are still divided by a rollout that didn't end, with the step that was open."""
    noted = [info.get("traffic") or {} for info in load_balancers]
    found = []
    for step in steps:
        left = [notes[step["name"]] for notes in noted if notes.get(step["name"], {}).get("step")]
        if left:
            note = max(left, key=lambda entry: entry["step"]["index"])
            left_step = note["step"]
            found.append({**step, **{key: left_step[key] for key in ("generation", "slot")}, "left": left_step})
    return found


def _state(name: str, info: Mapping[str, Any]) -> HostState:
    data = info["records"].get(name)
    record = parse_data(data, name) if data else Record(name)
    kept = tuple(read_content(entry) for entry in (info.get("kept") or {}).get(name, ()))
    return HostState(record, bool(info["serves"].get(name)), kept)


def _step_data(step: Step, migrate: Sequence[str], policy: Mapping[str, Any] | None) -> dict[str, Any]:
    """`policy` is the deployment's own way through its steps; without one, all goes at once."""
    is_replacement = step.switches and bool(step.former) and policy is not None
    resolved = resolve_steps(policy, step.hosts) if is_replacement and policy else ()
    return {
        "steps": planned_steps(step.hosts, resolved, is_replacement),
        "prepared": False,
        "kept": False,
        "returns": False,
        "slot": step.slot,
        "generation": step.generation,
        "switches": step.switches,
        "hosts": list(step.hosts),
        "behind": list(step.behind),
        "former": step.former,
        "migrate_host": step.hosts[0] if step.switches and migrate and step.hosts else None,
    }


def make_plan(
    steps: Sequence[Mapping[str, Any]], parallel: int, room: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Order the steps: what needs nothing, and the waves of what does; `room` is what hosts keep free for slots that change."""
    working = [step["name"] for step in steps if step["hosts"]]
    takes_memory = {
        step["name"]: {host: (step.get("share") or {}).get("memory", 0) for host in step["hosts"]}
        for step in steps
        if step["hosts"] and step["switches"] and step["former"]
    }
    return {
        "steps": {step["name"]: dict(step) for step in steps},
        "waves": waves(working, takes_memory, parallel, room or {}),
        "current": [step["name"] for step in steps if not step["hosts"]],
        "behind": {step["name"]: step["behind"] for step in steps if step["behind"]},
        "lines": plan_lines(steps),
    }


def needed_releases(steps: Iterable[Mapping[str, Any]], servers: Mapping[str, Server]) -> dict[str, list[str]]:
    """Return which releases must be brought to which servers."""
    needed: dict[str, list[str]] = {}
    for step in steps:
        for host in step["hosts"]:
            info = servers[host].info
            if info and step["release"] not in info["releases"] and host not in needed.setdefault(step["release"], []):
                needed[step["release"]].append(host)
    return {release: sorted(hosts) for release, hosts in needed.items() if hosts}


def promoted_deployments(
    deployments: Mapping[str, Mapping[str, Any]], addresses: Mapping[str, str], infos: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what load balancers must know of every deployment that has a promoted slot.

    What was promoted decides: a name or a path that the registry has changed since comes with the next release.
    """
    known = [info["records"] for info in infos]
    found = []
    for name, deployment in deployments.items():
        record = newest([parse_data(records[name], name) for records in known if name in records], name)
        if record.active and record.serving:
            found.append(
                {
                    "name": name,
                    "ports": deployment["ports"],
                    "addresses": {host: addresses[host] for host in deployment["hosts"] if host in addresses},
                    "server_name": record.serving.server_name,
                    "ready_path": record.serving.ready_path,
                    "max_connections": record.serving.max_connections,
                    "revision": record.serving.revision,
                    "slot": record.active,
                    "generation": record.generation,
                }
            )
    return found


def find_behind(
    deployments: Mapping[str, Mapping[str, Any]], servers: Mapping[str, Server]
) -> dict[str, tuple[str, ...]]:
    """Return the servers that answer and don't run what the others promoted, by deployment; the promoted alone is asked."""
    found = {}
    for name, deployment in deployments.items():
        states = {host: _state(name, server.info) for host, server in servers.items() if server.info}
        known = newest((state.record for state in states.values()), name)
        behind = tuple(
            host
            for host in deployment["hosts"]
            if host in states and known.serving and not is_current(states[host], known)
        )
        if behind:
            found[name] = behind
    return found


def promoted_release(name: str, servers: Mapping[str, Server]) -> str:
    """Return the release that serves according to the newest record."""
    known = newest((_state(name, server.info).record for server in servers.values() if server.info), name)
    return known.serving.release if known.serving else ""


def step_failures(
    steps: Iterable[Mapping[str, Any]], answers: Mapping[str, Mapping[str, Any]], asked: str = "hosts"
) -> dict[str, str]:
    """Return the deployments that a part of a deploy failed for, and why.

    `answers` are modules' results by host, `asked` says who owes one: all `hosts` of a deployment, those that it `opens` in this step, its
    `migrate_host`, or `any` of those that can send it requests. A host that fell silent on the way fails the deployment, and what served goes on.
    """
    failures = {step["name"]: _step_errors(step, answers, asked) for step in steps}
    return {name: "\n".join(errors) for name, errors in failures.items() if errors}


def _step_errors(step: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]], asked: str) -> list[str]:
    all_results = {host: answer.get("results") for host, answer in answers.items()}
    results = {
        host: found[step["name"]]
        for host, found in all_results.items()
        if isinstance(found, dict) and step["name"] in found
    }
    errors = [f"{host}: {result['error']}" for host, result in results.items() if result.get("error")]
    errors += [f"{host}: {answer['msg']}" for host, answer in answers.items() if _has_failed(answer)]
    if asked == "any":
        silent = step["ready_path"] and not results
        return errors or (["no load balancer answered, so nothing was switched"] if silent else [])
    named = step.get(asked) or ()
    owing = [named] if isinstance(named, str) else named
    return errors + [f"{host}: stopped answering during the deploy" for host in owing if host not in results]


def _has_failed(answer: Mapping[str, Any]) -> bool:
    """Say whether a module failed altogether on a host that answers."""
    return bool(answer.get("failed") and "results" not in answer and not answer.get("unreachable"))
