# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A deployment's own piece of the load balancer's configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.slots import SLOTS

MAP_HEADER = "# <server name> <backend>\n"
# After what other roles bring; see the role haproxy, which leaves the loading of these to whoever writes them.
FRAGMENT_ORDER = 60
# Requests in flight to a host that vanished are given up after this; HAProxy ignores it on default-server.
LOSS = "tcp-ut 2s"
CHECK = "check inter 1s fastinter 300ms downinter 1s fall 2 rise 2"


def fragment_name(deployment: str) -> str:
    """Return the name of a deployment's file among the fragments."""
    return f"{FRAGMENT_ORDER}-{deployment}.cfg"


def render_fragment(deployment: Mapping[str, Any], active: str, identity_port: int, max_connections: int) -> str:
    """Write the backends of a deployment: the application itself, and what says which revision answers.

    Both slots of every host are listed and named `<host>-<slot>`; the idle ones are disabled.
    """
    name = deployment["name"]
    lines = [
        f"# Written by deploy.yml and site.yml; the record of {name} on the application servers decides.",
        f"backend be_{name} from http",
        "    option httpchk",
        f"    http-check send meth GET uri {deployment['ready_path']} ver HTTP/1.1 hdr Host {deployment['server_name']}"
        " hdr X-Forwarded-Proto https hdr Connection close",
        "    http-check expect status 200",
        f"    default-server {CHECK} maxconn {max_connections}",
        *_servers(deployment, active),
        "",
        f"backend id_{name} from http",
        f"    http-request set-path /{name}/{active}",
        *(
            f"    server {host}-{active} {_endpoint(address, identity_port)} {LOSS} track be_{name}/{host}-{active}"
            for host, address in deployment["addresses"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _servers(deployment: Mapping[str, Any], active: str) -> list[str]:
    return [
        f"    server {host}-{slot} {_endpoint(address, deployment['ports'][slot])} weight 100 {LOSS}"
        + ("" if slot == active else " disabled")
        for host, address in deployment["addresses"].items()
        for slot in SLOTS
    ]


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def render_map(entries: Mapping[str, str]) -> str:
    """Write which server name belongs to which deployment."""
    return MAP_HEADER + "".join(
        f"{server_name} be_{deployment}\n" for server_name, deployment in sorted(entries.items())
    )


def parse_map(text: str) -> dict[str, str]:
    """Read which server name belongs to which deployment."""
    pairs = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {pair[0]: re.sub("^be_", "", pair[1]) for pair in pairs if len(pair) == 2}


def merge_map(present: Mapping[str, str], changed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Bring deployments into the map; a deployment's former name goes, other deployments' entries stay."""
    names = {deployment["name"]: deployment["server_name"] for deployment in changed}
    kept = {server_name: deployment for server_name, deployment in present.items() if deployment not in names}
    return kept | {server_name: deployment for deployment, server_name in names.items()}


def has_web(deployment: Mapping[str, Any]) -> bool:
    """Say whether a deployment takes requests at all."""
    return bool(deployment["ready_path"])


@dataclass(frozen=True)
class Files:
    """What a load balancer has, or is to have: fragments and notes by deployment, none where absent, and the map."""

    fragments: Mapping[str, str | None]
    notes: Mapping[str, Mapping[str, Any] | None]
    map_text: str


@dataclass(frozen=True)
class Switch:
    """A change of a load balancer's files: what is there before and after, for whom, and who is refused."""

    before: Files
    after: Files
    changed: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def diff(self) -> list[dict[str, str]]:
        """Show the change as Ansible shows it."""
        texts = [
            (fragment_name(name), self.before.fragments[name] or "", self.after.fragments[name] or "")
            for name in self.changed
        ]
        texts += [("deployments.map", self.before.map_text, self.after.map_text)]
        return [
            {"before_header": path, "after_header": path, "before": old, "after": new}
            for path, old, new in texts
            if old != new
        ]


def plan_switches(
    deployments: Sequence[Mapping[str, Any]], present: Files, identity_port: int, max_connections: int
) -> Switch:
    """Say what makes each deployment's chosen slot the one that is sent requests."""
    refused, fragments, notes, moving = {}, {}, {}, []
    for deployment in deployments:
        name, note = deployment["name"], present.notes.get(deployment["name"])
        if note and note["generation"] > deployment["generation"]:
            refused[name] = (
                f"slot {note['active']} of generation {note['generation']} is newer than {deployment['generation']}; deploy again"
            )
            continue
        fragment = render_fragment(deployment, deployment["slot"], identity_port, max_connections)
        wanted = {"deployment": name, "active": deployment["slot"], "generation": deployment["generation"]}
        moving.append(deployment)
        fragments[name] = fragment
        former = (
            _former(note, present, name)
            if not note or note["generation"] != deployment["generation"]
            else note.get("former")
        )
        notes[name] = {**wanted, "former": former}
    map_text = render_map(merge_map(parse_map(present.map_text), moving))
    changed = tuple(
        name
        for name, fragment in fragments.items()
        if (present.fragments[name], present.notes[name]) != (fragment, notes[name])
        or _mapped(present.map_text, name) != _mapped(map_text, name)
    )
    return _switch(present, fragments, notes, map_text, changed, refused)


def _former(note: Mapping[str, Any] | None, present: Files, name: str) -> dict[str, Any] | None:
    if not note:
        return None
    former = {key: note[key] for key in ("deployment", "active", "generation")}
    return {**former, "fragment": present.fragments[name], "server_names": _mapped(present.map_text, name)}


def _mapped(map_text: str, deployment: str) -> list[str]:
    return [server_name for server_name, name in parse_map(map_text).items() if name == deployment]


def plan_revert(deployments: Sequence[Mapping[str, Any]], present: Files) -> Switch:
    """Say what takes switches back: what each deployment had before, or nothing where this was its first."""
    fragments: dict[str, str | None] = {}
    notes: dict[str, Mapping[str, Any] | None] = {}
    entries = parse_map(present.map_text)
    for deployment in deployments:
        name, note = deployment["name"], present.notes.get(deployment["name"])
        if not note or note["generation"] != deployment["generation"]:
            continue
        former = note.get("former")
        fragments[name] = former["fragment"] if former else None
        notes[name] = (
            {**{key: former[key] for key in ("deployment", "active", "generation")}, "former": None} if former else None
        )
        entries = {server_name: owner for server_name, owner in entries.items() if owner != name}
        entries |= dict.fromkeys(former["server_names"], name) if former else {}
    return _switch(present, fragments, notes, render_map(entries), tuple(fragments), {})


def plan_removal(names: Sequence[str], present: Files) -> Switch:
    """Say what takes deployments off the load balancer: fragment, note and every server name."""
    nothing: dict[str, None] = dict.fromkeys(names)
    entries = {server_name: owner for server_name, owner in parse_map(present.map_text).items() if owner not in nothing}
    changed = tuple(
        name
        for name in names
        if present.fragments[name] is not None or present.notes[name] is not None or _mapped(present.map_text, name)
    )
    return _switch(present, nothing, nothing, render_map(entries), changed, {})


def _switch(
    present: Files,
    fragments: Mapping[str, str | None],
    notes: Mapping[str, Mapping[str, Any] | None],
    map_text: str,
    changed: tuple[str, ...],
    refused: Mapping[str, str],
) -> Switch:
    before = Files(
        {name: present.fragments[name] for name in changed},
        {name: present.notes[name] for name in changed},
        present.map_text,
    )
    after = Files({name: fragments[name] for name in changed}, {name: notes[name] for name in changed}, map_text)
    return Switch(before, after, changed, refused)
