# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads of resolved endpoints: one table, what collides or is out of date, and what to do next."""

from __future__ import annotations

import ipaddress
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from ansible_collections.nectar.backend.plugins.module_utils import viewpoint_matrix as matrix
from ansible_collections.nectar.backend.plugins.module_utils.address_choice import BRIDGES
from ansible_collections.nectar.backend.plugins.module_utils.environment_endpoints import (
    CONTROLLER,
    PATH,
    Environment,
    door,
)

WIDTH = 158  # columns of a table, within the 160 of a wide terminal
MISDIRECTED = 421
# Verdicts with which nobody is at an address.
NOBODY = ("filtered", "unreachable", "forbidden")
# Verdicts with which a deploy can't be trusted to reach the right service; others are a dead host's.
WRONG = ("wrong_server", "tls_mismatch")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; a `note` is worth knowing, and stops nothing."""

    kind: str
    subject: str
    message: str
    note: bool = False


@dataclass(frozen=True)
class Interface:
    """One address of one interface."""

    name: str
    address: ipaddress.IPv4Interface | ipaddress.IPv6Interface


Results: TypeAlias = "Mapping[str, Mapping[str, Any] | None]"


def merge_results(calls: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, dict[str, Any] | None]:
    """What each viewpoint found in all of its calls; None where none was answered."""
    answered = {name: [call["endpoints"] for call in made if "endpoints" in call] for name, made in calls.items()}
    return {
        name: {"endpoints": [item for call in made for item in call]} if made else None
        for name, made in answered.items()
    }


def read_interfaces(facts: Mapping[str, Any]) -> list[Interface]:
    """Every address that a host has, from Ansible's facts about its interfaces."""
    found = []
    for name in facts.get("interfaces", ()):
        entry = facts.get(name.replace("-", "_").replace(":", "_"), {})
        first = entry.get("ipv4") or []
        fourth = [*(first if isinstance(first, list) else [first]), *entry.get("ipv4_secondaries", ())]
        spelled = [f"{item['address']}/{item['netmask']}" for item in fourth]
        spelled += [f"{item['address']}/{item['prefix']}" for item in entry.get("ipv6", ())]
        found += [Interface(name, ipaddress.ip_interface(text)) for text in spelled]
    return found


def find_collisions(
    environment: Environment, results: Results, interfaces: Mapping[str, Sequence[Interface]]
) -> list[Finding]:
    """Everything about the addresses of all deployments and hosts that contradicts something else."""
    asked = [item for result in results.values() if result for item in result["endpoints"]]
    proofs = [item for item in asked if not item["name"].startswith(PATH)]
    return [
        *_shared_by_deployments(environment),
        *_shared_by_hosts(environment, interfaces),
        *_virtual_addresses(environment, results, interfaces),
        *_claims(environment, interfaces),
        *_bridges(interfaces),
        *_names(environment, proofs),
        *_out_of_date(proofs),
    ]


def _shared_by_deployments(environment: Environment) -> Iterator[Finding]:
    owners: dict[tuple[str, int], list[str]] = {}
    doors: dict[str, list[str]] = {}
    for name, entry in environment.deployments.items():
        doors.setdefault(entry["server_name"], []).append(name)
        for host in entry["hosts"]:
            for port in entry["ports"].values():
                owners.setdefault((environment.servers[host]["advertise"], port), []).append(name)
    for (address, port), names in owners.items():
        if len(names) > 1:
            yield Finding(
                "collision",
                ", ".join(names),
                f"their slots are both to listen on {address} port {port}; give each a number of its own in the registry",
            )
    for name, names in doors.items():
        if len(names) > 1:
            yield Finding(
                "collision", ", ".join(names), f"all are served as {name}; give each a server_name of its own"
            )


def _shared_by_hosts(environment: Environment, interfaces: Mapping[str, Sequence[Interface]]) -> Iterator[Finding]:
    owners: dict[str, dict[str, str]] = {}
    for name, server in environment.servers.items():
        for address in {*server["bind"], *server["connect"], server["advertise"]}:
            owners.setdefault(str(ipaddress.ip_address(address)), {})[name] = "the registry"
    for name, known in interfaces.items():
        for item in known:
            ip = item.address.ip
            if ip.is_loopback or ip.is_link_local or BRIDGES.fullmatch(item.name):
                continue
            owners.setdefault(str(ip), {}).setdefault(name, f"its interface {item.name}")
    for address, hosts in owners.items():
        if len(hosts) < 2:
            continue
        said = " and ".join(f"{name} ({source})" for name, source in sorted(hosts.items()))
        remedy = (
            "keepalived runs on both, and they don't hear each other: look at the firewall between them (VRRP)"
            if address in environment.virtual_addresses
            else "take it from all but one; where the registry is right, remove it from the other's interface"
        )
        yield Finding("collision", address, f"has several owners, {said}; {remedy}")


def _virtual_addresses(
    environment: Environment, results: Results, interfaces: Mapping[str, Sequence[Interface]]
) -> Iterator[Finding]:
    balancers = [name for name in environment.groups.get("loadbalancers", ()) if name in interfaces]
    if not balancers:
        return
    for address in environment.virtual_addresses:
        ip = ipaddress.ip_address(address)
        holders = [name for name in balancers if any(item.address.ip == ip for item in interfaces[name])]
        silent = set(environment.groups["loadbalancers"]) - set(balancers)
        if not holders and not silent and (seen := _answer_of(address, results)):
            yield Finding(
                "collision",
                address,
                f"this virtual address answers, and no load balancer holds it: {seen}; find who has it, or take another",
            )
        for name in balancers:
            networks = _own_networks(environment, name, interfaces[name], ip.version)
            if networks and not any(ip in network for network in networks):
                said = ", ".join(str(network) for network in networks)
                yield Finding(
                    "network",
                    address,
                    f"this virtual address is in no network of {name} ({said}): nobody would find it there; "
                    f"take one of that network in virtual_addresses",
                )


def _own_networks(
    environment: Environment, name: str, interfaces: Sequence[Interface], version: int
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks of the interfaces on which a load balancer has its own addresses."""
    own = {ipaddress.ip_address(address) for address in environment.servers[name]["bind"]}
    return list(
        dict.fromkeys(
            item.address.network for item in interfaces if item.address.ip in own and item.address.version == version
        )
    )


def _answer_of(address: str, results: Results) -> str:
    for item in (results.get(CONTROLLER) or {}).get("endpoints", ()):
        for candidate in item["candidates"]:
            if candidate["address"] == address and candidate["verdict"] not in NOBODY:
                return str(candidate["reason"])
    return ""


def _claims(environment: Environment, interfaces: Mapping[str, Sequence[Interface]]) -> Iterator[Finding]:
    for name, known in interfaces.items():
        there = {item.address.ip: item.name for item in known}
        server = environment.servers[name]
        for address in server["bind"]:
            interface = there.get(ipaddress.ip_address(address))
            if interface is None:
                yield Finding(
                    "claim",
                    name,
                    f"the registry binds services to {address}, which is on no interface of {name} "
                    f"(it has {_listed(known)}); correct `bind`, or give the host that address",
                )
            elif BRIDGES.fullmatch(interface):
                yield Finding(
                    "bridge",
                    name,
                    f"{address} is on the container bridge {interface}, which only {name} itself reaches; correct `bind`",
                )
        away = [
            address
            for address in dict.fromkeys((*server["connect"], server["advertise"]))
            if ipaddress.ip_address(address) not in there and address not in server["bind"]
        ]
        if away:
            yield Finding(
                "claim",
                name,
                f"others connect to {', '.join(away)}, which {name} itself doesn't have: right where addresses are translated",
                note=True,
            )


def _listed(interfaces: Sequence[Interface]) -> str:
    shown = [
        f"{item.address.ip} on {item.name}"
        for item in interfaces
        if not item.address.ip.is_loopback and not item.address.ip.is_link_local
    ]
    return ", ".join(shown) or "none"


def _bridges(interfaces: Mapping[str, Sequence[Interface]]) -> Iterator[Finding]:
    for name, known in interfaces.items():
        there = [f"{item.address} on {item.name}" for item in known if BRIDGES.fullmatch(item.name)]
        if there:
            yield Finding(
                "bridge", name, f"has container bridges, whose addresses are never used: {', '.join(there)}", note=True
            )


def _names(environment: Environment, proofs: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Where a name server says something else than the registry."""
    expected = {str(ipaddress.ip_address(address)) for address in door(environment)}
    for item in proofs:
        for lookup in item.get("lookups", ()):
            if lookup["outcome"] == "no_such_name":
                yield Finding(
                    "dns",
                    lookup["name"],
                    f"{lookup['server']} knows no such name; run site.yml --tags name_server, or enter it there",
                )
            if lookup["outcome"] != "answered" or lookup["type"] not in ("A", "AAAA"):
                continue
            family = {address for address in expected if (":" in address) == (lookup["type"] == "AAAA")}
            said = {str(ipaddress.ip_address(address)) for address in lookup["addresses"]}
            wrong, missing = sorted(said - family), sorted(family - said)
            if wrong:
                yield Finding(
                    "dns",
                    lookup["name"],
                    f"{lookup['server']} names {', '.join(wrong)} ({lookup['type']}), where the registry names "
                    f"{', '.join(sorted(family)) or 'none of that family'}; correct the record, or the registry",
                )
            elif missing and said:
                yield Finding(
                    "dns",
                    lookup["name"],
                    f"{lookup['server']} leaves out {', '.join(missing)} ({lookup['type']}), which the registry names; add it",
                )


def _out_of_date(proofs: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    for item in proofs:
        for candidate in item["candidates"]:
            if candidate["verdict"] == "stale":
                yield Finding("stale", item["name"], candidate["reason"])


def ages(results: Results) -> list[str]:
    """How old the answers are on which the choice rests, in a sentence for each source that is not of now."""
    known: dict[str, list[float]] = {}
    for result in results.values():
        for item in (result or {}).get("endpoints", ()):
            for candidate in item["candidates"]:
                if candidate["age"] is not None:
                    known.setdefault(", ".join(candidate["sources"]), []).append(candidate["age"])
    return [f"{source}: {len(old)} answers, the oldest of {_duration(max(old))} ago" for source, old in known.items()]


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def rows_of(results: Results) -> list[tuple[str, str, str, str]]:
    """Endpoint, viewpoints, address and reason of what was chosen; then each rejected address with its own."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for viewpoint, result in results.items():
        for item in (result or {}).get("endpoints", ()):
            if not item["name"].startswith(PATH):
                alike.setdefault((item["name"], *_lines(item)), []).append(viewpoint)
    rows = []
    for (name, *lines), viewpoints in sorted(alike.items(), key=lambda entry: _place(entry[0][0])):
        first, *others = lines
        rows.append((name, ", ".join(viewpoints), *first))
        rows += [("", "  rejected", *line) for line in others]
    return rows


def _place(name: str) -> tuple[int, str]:
    """Servers first, then what each deployment has."""
    return (not name.startswith("ssh/"), name)


def _lines(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    chosen = (item["address"], item["port"]) if item["ok"] else None
    if chosen:
        yield _spelled(*chosen), item["why"]
    else:
        said = "; ".join(
            dict.fromkeys(
                f"{lookup['server']} {lookup['detail']}" for lookup in item["lookups"] if lookup["outcome"] == "failed"
            )
        )
        yield f"NONE ({item['verdict']})", said or ("see below" if item["candidates"] else item["why"])
    for candidate in item["candidates"]:
        if (candidate["address"], candidate["port"]) != chosen:
            yield (
                _spelled(candidate["address"], candidate["port"]),
                f"{candidate['verdict']} ({', '.join(candidate['sources'])}): {candidate['reason']}",
            )


def _spelled(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def table(rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Aligned columns, a heading first; the last one is wrapped within the width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        first = "".join(cell.ljust(size + 2) for cell, size in zip(row[:-1], widths, strict=True))
        wrapped = textwrap.wrap(row[-1], max(40, width - indent), break_on_hyphens=False) or [""]
        lines.append(f"{first}{wrapped[0]}".rstrip())
        lines += [f"{' ' * indent}{line}" for line in wrapped[1:]]
    return lines


def unproven(results: Results) -> list[Finding]:
    return [
        Finding("unproven", f"{item['name']} from {viewpoint}", item["why"])
        for viewpoint, result in results.items()
        for item in (result or {}).get("endpoints", ())
        if not item["ok"] and not item["name"].startswith(PATH)
    ]


def report(
    environment: Environment,
    paths: Sequence[Mapping[str, Any]],
    results: Results,
    facts: Mapping[str, Mapping[str, Any]],
    when: str,
) -> dict[str, Any]:
    """All that was found: lines for people, data for scripts, a page for the matrix, and whether anything is wrong."""
    interfaces = {name: read_interfaces(known) for name, known in facts.items() if known}
    collisions = find_collisions(environment, results, interfaces)
    cells = matrix.judge_paths(paths, results)
    path_faults = [Finding(item["kind"], item["subject"], item["message"]) for item in matrix.faults(cells)]
    missing = unproven(results)
    problems = [*missing, *(item for item in collisions if not item.note), *path_faults]
    lines = [
        *table([("endpoint", "from", "address", "why"), *rows_of(results)]),
        "",
        "Collisions and staleness",
        *_findings(collisions),
        *(f"  age of answers: {line}" for line in ages(results) or ["all sources were asked just now"]),
        *([] if environment.name_servers else ["  DNS is left out: the environment declares no name_servers"]),
        "",
        "Who reaches what (`3 of 3`: must and does; `shut`: must not and doesn't; `-`: no rule; `?`: nobody could look)",
        *(table(matrix.summary(cells)) if cells else ["  nothing to look at"]),
        *_findings(path_faults, empty=""),
        "",
        "What to do next",
        *_next_steps(environment, missing, problems, results),
    ]
    return {
        "ok": not problems,
        "problems": [f"{item.subject} ({item.kind})" for item in problems],
        "lines": lines,
        "data": {
            "when": when,
            "ok": not problems,
            "viewpoints": {
                name: result and [item for item in result["endpoints"] if not item["name"].startswith(PATH)]
                for name, result in results.items()
            },
            "findings": [asdict(item) for item in (*missing, *collisions, *path_faults)],
            "paths": matrix.as_data(cells),
        },
        "html": matrix.heat_map(cells, "Who reaches what", when),
    }


def _findings(findings: Sequence[Finding], empty: str = "  none") -> list[str]:
    if not findings:
        return [empty] if empty else []
    rows = [(f"  {'note' if item.note else item.kind}", item.subject, item.message) for item in findings]
    return table(rows)


def _next_steps(
    environment: Environment, missing: Sequence[Finding], problems: Sequence[Finding], results: Results
) -> list[str]:
    if not problems:
        return ["  nothing: every endpoint is proven, nothing collides, and every path is as it must be"]
    waiting = [name for name in environment.names if _is_undeployed(name, results)]
    lines = []
    if waiting:
        lines.append(f"  ansible-playbook playbooks/deploy.yml -e deployment={','.join(waiting)}   (not served yet)")
    hosts = [item.subject.split()[0].removeprefix("ssh/") for item in missing if item.subject.startswith("ssh/")]
    if hosts:
        lines.append(f"  see that {', '.join(hosts)} run, with the host keys that the registry has")
    lines += ["  mend what the sentences above name, then run this again"]
    return lines


def _is_undeployed(name: str, results: Results) -> bool:
    return any(
        item["name"] == f"{name}/https"
        and not item["ok"]
        and any(candidate["evidence"].get("status") == MISDIRECTED for candidate in item["candidates"])
        for item in (results.get(CONTROLLER) or {}).get("endpoints", ())
    )


def refusals(needs: str, results: Results) -> list[str]:
    """Why a play must not start, one line each; nothing where it may."""
    return [
        f"{item['name']} from {viewpoint}: {item['verdict']}: {reason}"
        for viewpoint, result in results.items()
        for item in (result or {}).get("endpoints", ())
        if (reason := _refusal(needs, viewpoint, item))
    ]


def _refusal(needs: str, viewpoint: str, item: Mapping[str, Any]) -> str:
    why = str(item["why"])
    seen = item["candidates"]
    if item["name"].startswith("virtual/"):
        # Before the first run nobody has it; afterwards a load balancer answers as itself, or is down and refuses.
        stranger = any(candidate["verdict"] in (*WRONG, "reachable") for candidate in seen)
        return f"this virtual address is somebody else's: {why}" if stranger else ""
    if item["ok"]:
        return ""
    if needs != "deploy" or viewpoint != CONTROLLER:
        return why
    # A dead host doesn't stop what lives elsewhere, and a deployment that isn't served yet is what a deploy mends.
    wrong = [
        candidate
        for candidate in seen
        if candidate["verdict"] in WRONG and candidate["evidence"].get("status") != MISDIRECTED
    ]
    return "; ".join(str(candidate["reason"]) for candidate in wrong)
