# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A deployment's own piece of the load balancer's configuration, and which share of its requests goes where."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.slots import SLOTS

MAP_HEADER = "# <server name> <backend>\n"
SLOTS_HEADER = "# <server name> <slot>\n"
# After what other roles bring; see the role haproxy, which leaves the loading of these to whoever writes them.
FRAGMENT_ORDER = 60
# Requests in flight to a host that vanished are given up after this; HAProxy ignores it on default-server.
LOSS = "tcp-ut 2s"
# Each check is a request that may ask the database, from every load balancer and to every server. Requests that meet a dead server
# are sent to another one anyway, so those that are well are asked seldom, and those in doubt often.
CHECK = "check inter 2s fastinter 300ms downinter 500ms fall 2 rise 2"
# One that asks the database waits as long as a pooler holds its clients while the lead is handed over, 5 seconds at most: two that
# follow each other must outlast that, or every server would be given up at once.
CHECK_PATIENCE = "3s"
SERVER = re.compile(
    r"^    server (?P<name>\S+) (?P<endpoint>\S+) weight (?P<weight>\d+) (?P<options>.*?)(?P<disabled> disabled)?$",
    re.M,
)
# What a note keeps of the switch before.
KEPT = ("deployment", "active", "generation")


@dataclass(frozen=True)
class Server:
    """How a server takes requests: by which weight, and in which of HAProxy's states, `ready` or `maint`."""

    weight: int
    state: str

    def __str__(self) -> str:
        return f"weight {self.weight}, {self.state}"


IDLE = Server(0, "maint")


def fragment_name(deployment: str) -> str:
    """Return the name of a deployment's file among the fragments."""
    return f"{FRAGMENT_ORDER}-{deployment}.cfg"


def render_fragment(deployment: Mapping[str, Any], active: str, identity_port: int, max_connections: int) -> str:
    """Write the backends of a deployment: the application itself, and for each slot what says which revision answers.

    A revision that says how many requests a server of it is given at a time is right about that. Both slots of every host are listed and
    named `<host>-<slot>`; the idle ones have no weight and are disabled.
    """
    name = deployment["name"]
    max_connections = deployment.get("max_connections") or max_connections
    lines = [
        f"# Written by deploy.yml and site.yml; the record of {name} on the application servers decides.",
        f"backend be_{name} from http",
        "    option httpchk",
        f"    http-check send meth GET uri {deployment['ready_path']} ver HTTP/1.1 hdr Host {deployment['server_name']}"
        " hdr X-Forwarded-Proto https hdr Connection close",
        "    http-check expect status 200",
        f"    timeout check {CHECK_PATIENCE}",
        f"    default-server {CHECK} maxconn {max_connections}",
        *_last_requests(list(deployment["addresses"])),
        *(
            f"    server {host}-{slot} {_endpoint(address, deployment['ports'][slot])} weight 0 {LOSS} disabled"
            for host, address in deployment["addresses"].items()
            for slot in SLOTS
        ),
    ]
    for slot in SLOTS:
        lines += ["", f"backend id_{name}-{slot} from http", f"    http-request set-path /{name}/{slot}"]
        lines += [
            f"    server {host}-{slot} {_endpoint(address, identity_port)} {LOSS} track be_{name}/{host}-{slot}"
            for host, address in deployment["addresses"].items()
        ]
    return weigh("\n".join(lines) + "\n", active)


def _last_requests(hosts: Sequence[str]) -> list[str]:
    """Write which servers a worker that is stopping gives its last requests: the promoted slot's, evenly.

    It takes no weights any more, but obeys the map of slots, so it never gives a slot that is being tried another request.
    """
    return [
        f"    use-server {host}-%[var(txn.slot)] if {{ stopping }}"
        + (f" {{ rand({len(hosts) - number}) lt 1 }}" if number < len(hosts) - 1 else "")
        for number, host in enumerate(hosts)
    ] + [f"    use-server {host}-%[var(txn.slot)] if {{ stopping }}" for host in hosts[:-1]]


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def read_servers(fragment: str) -> dict[str, Server]:
    """Return how a fragment's servers take requests."""
    return {
        found["name"]: Server(int(found["weight"]), "maint" if found["disabled"] else "ready")
        for found in SERVER.finditer(fragment)
    }


def share_servers(names: Iterable[str], active: str, step: Mapping[str, Any] | None = None) -> dict[str, Server]:
    """Say how servers take requests: all go to the active slot, but for the share that a step gives the other one.

    Weights are percent of a host's requests. A slot whose share is all gone stays checked until the step ends.
    """
    return {name: _share(name, active, step) for name in names}


def _share(name: str, active: str, step: Mapping[str, Any] | None) -> Server:
    host, _dash, slot = name.rpartition("-")
    share = step["share"] if step and host in step["hosts"] else 0
    if slot == active:
        return Server(100 - share, "ready")
    return Server(share, "ready") if step and slot == step["slot"] and share else IDLE


def weigh(fragment: str, active: str, step: Mapping[str, Any] | None = None) -> str:
    """Write into a fragment how its servers take requests; all else in it stays."""
    servers = share_servers(read_servers(fragment), active, step)
    return SERVER.sub(lambda found: _line(found, servers[found["name"]]), fragment)


def _line(found: re.Match[str], server: Server) -> str:
    end = " disabled" if server.state == "maint" else ""
    return f"    server {found['name']} {found['endpoint']} weight {server.weight} {found['options']}{end}"


def spare(fragment: str, host: str, down: Collection[str] = ()) -> str:
    """Write into a fragment that a host's servers get no new requests; where no other that is up would take them, all stays."""
    servers = read_servers(fragment)
    mine = {name for name in servers if name.rpartition("-")[0] == host}
    takers = [name for name, server in servers.items() if server.state == "ready" and server.weight]
    if not set(takers) - mine - set(down):
        return fragment
    spared = {name: replace(server, weight=0) if name in mine else server for name, server in servers.items()}
    return SERVER.sub(lambda found: _line(found, spared[found["name"]]), fragment)


def structure(fragment: str | None) -> str:
    """Return what of a fragment only a reload brings about: all but weights and states."""
    return SERVER.sub(lambda found: _line(found, IDLE), fragment or "")


def parse_pairs(text: str) -> dict[str, str]:
    """Read a map of HAProxy."""
    pairs = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def render_map(entries: Mapping[str, str]) -> str:
    """Write which server name belongs to which deployment."""
    return MAP_HEADER + "".join(
        f"{server_name} be_{deployment}\n" for server_name, deployment in sorted(entries.items())
    )


def render_slots(entries: Mapping[str, str]) -> str:
    """Write which slot says who answers under a server name."""
    return SLOTS_HEADER + "".join(f"{server_name} {slot}\n" for server_name, slot in sorted(entries.items()))


def parse_map(text: str) -> dict[str, str]:
    """Read which server name belongs to which deployment."""
    return {server_name: backend.removeprefix("be_") for server_name, backend in parse_pairs(text).items()}


def has_web(deployment: Mapping[str, Any]) -> bool:
    """Say whether a deployment takes requests at all."""
    return bool(deployment["ready_path"])


@dataclass(frozen=True)
class Files:
    """What a load balancer has, or is to have: fragments and notes by deployment, none where absent, and the maps."""

    fragments: Mapping[str, str | None]
    notes: Mapping[str, Mapping[str, Any] | None]
    map_text: str
    slots_text: str = SLOTS_HEADER


@dataclass(frozen=True)
class Switch:
    """A change of a load balancer's files: what is there before and after, for whom, who is refused, and who is left to a rollout."""

    before: Files
    after: Files
    changed: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)

    @property
    def structural(self) -> bool:
        """Say whether it takes a reload: a weight doesn't, a server or a name does."""
        return self.before.map_text != self.after.map_text or any(
            structure(self.before.fragments[name]) != structure(self.after.fragments[name]) for name in self.changed
        )

    @property
    def diff(self) -> list[dict[str, str]]:
        """Show the change as Ansible shows it."""
        texts = [
            (fragment_name(name), self.before.fragments[name] or "", self.after.fragments[name] or "")
            for name in self.changed
        ]
        texts += [("deployments.map", self.before.map_text, self.after.map_text)]
        texts += [("slots.map", self.before.slots_text, self.after.slots_text)]
        return [
            {"before_header": path, "after_header": path, "before": old, "after": new}
            for path, old, new in texts
            if old != new
        ]


def plan_switches(
    deployments: Sequence[Mapping[str, Any]], present: Files, identity_port: int, max_connections: int
) -> Switch:
    """Say what makes each deployment's chosen slot the one that is sent requests; it ends an open step of the same rollout."""
    refused: dict[str, str] = {}
    held: dict[str, str] = {}
    draft = _Draft(present)
    for deployment in deployments:
        name, note = deployment["name"], present.notes.get(deployment["name"])
        if reason := _refusal(deployment, note):
            refused[name] = reason
        elif note and note.get("step") and not deployment.get("token"):
            where = f"step {note['step']['index'] + 1} of a rollout is open here"
            if note["generation"] == deployment["generation"]:
                held[name] = f"{where}, and its weights stay"
            else:
                refused[name] = f"{where}; deploy again when it has ended"
        else:
            wanted = {"deployment": name, "active": deployment["slot"], "generation": deployment["generation"]}
            again = note is not None and note["generation"] == deployment["generation"]
            draft.notes[name] = {
                **wanted,
                **_fence(deployment, note),
                "former": note.get("former") if note and again else _former(note, present, name),
                "step": None,
            }
            draft.fragments[name] = render_fragment(deployment, deployment["slot"], identity_port, max_connections)
            draft.route(name, [deployment["server_name"]], deployment["slot"])
    return draft.switch(refused, held)


def plan_steps(deployments: Sequence[Mapping[str, Any]], present: Files) -> Switch:
    """Say what gives each deployment's new slot the share of its step. What is served under the old structure stays so until the switch."""
    refused: dict[str, str] = {}
    draft = _Draft(present)
    for deployment in deployments:
        name, note = deployment["name"], present.notes.get(deployment["name"])
        fragment = present.fragments.get(name)
        if not note or not fragment:
            refused[name] = "nothing is served here yet, and a first release takes no steps; switch it at once"
        elif reason := _refusal(deployment, note) or _impossible(deployment, note, fragment):
            refused[name] = reason
        else:
            step = {key: deployment["step"][key] for key in ("index", "hosts", "share")}
            step |= {key: deployment[key] for key in ("slot", "revision", "generation")}
            draft.notes[name] = {
                **{key: note[key] for key in KEPT},
                **_fence(deployment, note),
                "former": note.get("former"),
                "step": step,
            }
            draft.fragments[name] = weigh(fragment, note["active"], step)
    return draft.switch(refused, {})


def _impossible(deployment: Mapping[str, Any], note: Mapping[str, Any], fragment: str) -> str:
    step = deployment["step"]
    if not deployment.get("token"):
        return "token: a step needs the number of its rollout's lease; take the lease first"
    if deployment["slot"] == note["active"] or deployment["generation"] <= note["generation"]:
        return f"slot {note['active']} of generation {note['generation']} serves already; a step is for the other slot and a later one"
    if not 1 <= step["share"] <= 100:
        return f"step.share: found {step['share']}, expected a percentage from 1 to 100"
    servers = read_servers(fragment)
    unknown = [host for host in step["hosts"] if f"{host}-{deployment['slot']}" not in servers]
    if unknown:
        return f"step.hosts: {', '.join(unknown)} is not served here yet; run site.yml for the load balancers first"
    return ""


def plan_withdrawal(names: Iterable[str], present: Files, reason: str, now: str) -> Switch:
    """Say what ends open steps without their rollout: the promoted slots get all requests back, and the notes say why."""
    draft = _Draft(present)
    for name in names:
        note = present.notes.get(name)
        if note and note.get("step"):
            draft.end_step(name, note, {"reason": reason, "at": now})
    return draft.switch({}, {})


def plan_revert(deployments: Sequence[Mapping[str, Any]], present: Files) -> Switch:
    """Say what takes steps and switches back: to what each deployment had before, or nothing where this was its first."""
    refused: dict[str, str] = {}
    draft = _Draft(present)
    for deployment in deployments:
        name, note = deployment["name"], present.notes.get(deployment["name"])
        if not note:
            continue
        step = note.get("step")
        if reason := _outdated(deployment, note):
            refused[name] = reason
        elif step and step["generation"] == deployment["generation"]:
            draft.end_step(name, {**note, **_fence(deployment, note)}, None)
        elif note["generation"] == deployment["generation"]:
            draft.take_back(name, deployment, note)
    return draft.switch(refused, {})


def plan_removal(names: Sequence[str], present: Files) -> Switch:
    """Say what takes deployments off the load balancer: fragment, note and every server name."""
    draft = _Draft(present)
    for name in names:
        draft.fragments[name] = draft.notes[name] = None
        draft.route(name, [], "")
    return draft.switch({}, {})


def _refusal(deployment: Mapping[str, Any], note: Mapping[str, Any] | None) -> str:
    if not note:
        return ""
    if note["generation"] > deployment["generation"]:
        return f"slot {note['active']} of generation {note['generation']} is newer than {deployment['generation']}; deploy again"
    withdrawn = note.get("withdrawn")
    if withdrawn and deployment.get("token") == note.get("token"):
        return f"this rollout was withdrawn here at {withdrawn['at']}: {withdrawn['reason']}; deploy again"
    return _outdated(deployment, note)


def _outdated(deployment: Mapping[str, Any], note: Mapping[str, Any]) -> str:
    seen, token = note.get("token") or 0, deployment.get("token")
    if not token or token >= seen:
        return ""
    return f"token {token} is older than {seen}: a later rollout has taken over, and decides"


def _fence(deployment: Mapping[str, Any], note: Mapping[str, Any] | None) -> dict[str, int]:
    """Keep the highest token seen; what was never rolled out in steps has none."""
    token = max(deployment.get("token") or 0, (note or {}).get("token") or 0)
    return {"token": token} if token else {}


def _former(note: Mapping[str, Any] | None, present: Files, name: str) -> dict[str, Any] | None:
    if not note:
        return None
    fragment = present.fragments[name]
    return {
        **{key: note[key] for key in KEPT},
        "fragment": fragment and weigh(fragment, note["active"]),
        "server_names": _mapped(present.map_text, name),
    }


def _mapped(map_text: str, deployment: str) -> list[str]:
    return [server_name for server_name, name in parse_map(map_text).items() if name == deployment]


class _Draft:
    """What is to be there of some deployments, as it grows."""

    def __init__(self, present: Files) -> None:
        self.present = present
        self.fragments: dict[str, str | None] = {}
        self.notes: dict[str, Mapping[str, Any] | None] = {}
        self.entries = parse_map(present.map_text)
        self.slots = parse_pairs(present.slots_text)

    def route(self, name: str, server_names: Sequence[str], slot: str) -> None:
        """Let a deployment have these server names, and no other; they tell of this slot."""
        former = [server_name for server_name, owner in self.entries.items() if owner == name]
        for entries in (self.entries, self.slots):
            for server_name in former:
                entries.pop(server_name, None)
        self.entries |= dict.fromkeys(server_names, name)
        self.slots |= dict.fromkeys(server_names, slot)

    def end_step(self, name: str, note: Mapping[str, Any], withdrawn: Mapping[str, str] | None) -> None:
        """Give all requests back to the promoted slot."""
        kept = {key: value for key, value in note.items() if key != "withdrawn"}
        self.notes[name] = {**kept, "step": None, **({"withdrawn": withdrawn} if withdrawn else {})}
        self.fragments[name] = weigh(self.present.fragments[name] or "", note["active"])

    def take_back(self, name: str, deployment: Mapping[str, Any], note: Mapping[str, Any]) -> None:
        """Return to what the note calls former."""
        former = note.get("former")
        self.fragments[name] = former["fragment"] if former else None
        self.notes[name] = (
            {**{key: former[key] for key in KEPT}, **_fence(deployment, note), "former": None, "step": None}
            if former
            else None
        )
        self.route(name, former["server_names"] if former else [], former["active"] if former else "")

    def switch(self, refused: Mapping[str, str], held: Mapping[str, str]) -> Switch:
        """Compare with what is there."""
        present, map_text, slots_text = self.present, render_map(self.entries), render_slots(self.slots)
        changed = tuple(
            name
            for name, fragment in self.fragments.items()
            if (present.fragments[name], present.notes[name]) != (fragment, self.notes[name])
            or _routes(present.map_text, present.slots_text, name) != _routes(map_text, slots_text, name)
        )
        if not changed:
            map_text, slots_text = present.map_text, present.slots_text
        before = Files(
            {name: present.fragments[name] for name in changed},
            {name: present.notes[name] for name in changed},
            present.map_text,
            present.slots_text,
        )
        after = Files(
            {name: self.fragments[name] for name in changed},
            {name: self.notes[name] for name in changed},
            map_text,
            slots_text,
        )
        return Switch(before, after, changed, refused, held)


def _routes(map_text: str, slots_text: str, deployment: str) -> dict[str, str | None]:
    slots = parse_pairs(slots_text)
    return {server_name: slots.get(server_name) for server_name in _mapped(map_text, deployment)}
