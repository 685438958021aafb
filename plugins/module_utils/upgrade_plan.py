# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan a rolling minor upgrade: what happens to which component of which server, in which order, and what is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.rollout_record import aligned
from ansible_collections.nectar.backend.plugins.module_utils.upgrade_facts import COMPONENTS, version_line

UPGRADE, RESTART, NOTHING, REFUSED = "upgrade", "restart", "nothing", "refused"
DATABASE = "database"
# What is taken in the order of the phases; within a turn, in the order of its components. HAProxy takes its new program over by a reload.
PHASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("balancers", "loadbalancers", ("haproxy", "keepalived")),
    ("applications", "app_servers", ("haproxy", "pgbouncer")),
    ("etcd", "database_servers", ("etcd",)),
    (DATABASE, "database_servers", ("patroni", "postgresql")),
)
RELOADED = frozenset({"haproxy"})
DEPTHS = {component.name: component.depth for component in COMPONENTS}
HEADING = ("server", "component", "installed", "candidate", "turn", "what will happen")
STALE_LISTS = 86400


class UpgradeError(Exception):
    """No plan can be made of this."""


@dataclass(frozen=True)
class Row:
    """What happens to a component of a server."""

    server: str
    component: str
    installed: str
    candidate: str
    action: str
    why: str = ""


@dataclass(frozen=True)
class Turn:
    """What is done on one server before the next one is touched; `others` must serve meanwhile."""

    order: int
    server: str
    phase: str
    components: list[str]
    packages: list[str]
    others: list[str]
    says: str = ""


@dataclass
class Plan:
    """All of it; the turns after the switchover are those of the member that leads now."""

    rows: list[Row] = field(default_factory=list)
    before: list[Turn] = field(default_factory=list)
    after: list[Turn] = field(default_factory=list)
    switchover: bool = False
    refusals: list[str] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def turns(self) -> list[Turn]:
        return self.before + self.after


Facts = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]


def plan_upgrade(facts: Facts, groups: Groups, wanted: str = "", force: bool = False) -> dict[str, Any]:
    """Return the plan as data, for a playbook; `facts` are those of the servers that may be touched."""
    plan = make_plan(facts, groups, choose_components(wanted), force)
    return {
        "rows": [asdict(row) for row in plan.rows],
        "before": [asdict(turn) for turn in plan.before],
        "after": [asdict(turn) for turn in plan.after],
        "switchover": plan.switchover,
        "refusals": plan.refusals,
        "outages": plan.outages,
        "lines": show(plan),
    }


def choose_components(wanted: str) -> list[str]:
    """Read a list with commas between; empty means all."""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = [name for name in names if name not in DEPTHS]
    if unknown:
        raise UpgradeError(f"components: {', '.join(unknown)} is none of {', '.join(DEPTHS)}; name some of these")
    return names or list(DEPTHS)


def make_plan(facts: Facts, groups: Groups, chosen: Collection[str], force: bool) -> Plan:
    """Go through the phases; a component that serves two groups on one server has its turn in the first."""
    plan = Plan()
    seen: set[tuple[str, str]] = set()
    for phase, group, names in PHASES:
        members = list(groups.get(group, ()))
        for server in in_order(phase, [name for name in members if name in facts], facts):
            mine = [n for n in names if n in chosen and n in facts[server]["components"] and (server, n) not in seen]
            seen |= {(server, name) for name in mine}
            rows = [judge(server, name, facts[server]["components"][name], force) for name in mine]
            plan.rows += rows
            add_turn(plan, server, phase, [row for row in rows if row.action in (UPGRADE, RESTART)], members, facts)
    plan.refusals += [f"{row.component} on {row.server}: {row.why}" for row in plan.rows if row.action == REFUSED]
    plan.notes = list(notes(facts))
    return plan


def in_order(phase: str, servers: Sequence[str], facts: Facts) -> list[str]:
    """Whoever carries most comes last: who holds the address, who leads etcd, who leads the database. What is broken comes first."""

    def weight(server: str) -> tuple[bool, bool, str]:
        known = facts[server]
        carries = {
            "balancers": known.get("holds", False),
            "etcd": known.get("leads_etcd", False),
            DATABASE: known.get("leads", False),
        }.get(phase, False)
        works = known.get({"etcd": "etcd_works", DATABASE: "works"}.get(phase, ""), True)
        return bool(carries), bool(works), server

    return sorted(servers, key=weight)


def judge(server: str, name: str, known: Mapping[str, Any], force: bool) -> Row:
    """Say what becomes of a component."""
    changing = [package for package in known["packages"] if package["newer"]]
    own = known["packages"][0]
    shown = changing[0] if changing else own
    row = (server, name, shown["installed"], shown["candidate"] or "-")
    broken = [package["name"] for package in known["packages"] if not package["whole"]]
    if broken:
        return Row(*row, REFUSED, f"{', '.join(broken)} is half installed; run `sudo dpkg --configure -a` there first")
    depth = DEPTHS[name]
    before, after = version_line(own["installed"], depth), version_line(own["candidate"], depth)
    if own["newer"] and before != after:
        return Row(
            *row,
            REFUSED,
            f"{own['candidate']} is no minor upgrade of {own['installed']}: expected {before}, found {after}; "
            "it needs more than this playbook does, so pin it, or plan it apart",
        )
    if changing:
        others = [package["name"] for package in changing if package is not own]
        return Row(*row, UPGRADE, f"with {', '.join(others)}" if others and own["newer"] else ", ".join(others))
    if known["stale"] or force:
        return Row(*row, RESTART, known["stale"] or "asked for")
    return Row(*row, NOTHING)


def add_turn(plan: Plan, server: str, phase: str, rows: Sequence[Row], members: Sequence[str], facts: Facts) -> None:
    """Add a server's turn, if there is anything to do there."""
    if not rows:
        return
    known = facts[server]["components"]
    # With the version that the table shows, whatever the archives have got meanwhile.
    changing = [
        f"{package['name']}={package['candidate']}"
        for row in rows
        if row.action == UPGRADE
        for package in known[row.component]["packages"]
        if package["newer"]
    ]
    others = [name for name in members if name != server]
    names = [row.component for row in rows]
    turn = Turn(
        len(plan.turns) + 1,
        server,
        phase,
        names,
        list(dict.fromkeys(changing)),
        others,
        f"{' and '.join(names)} on {server}",
    )
    leads = phase == DATABASE and bool(others) and bool(facts[server].get("leads"))
    (plan.after if leads else plan.before).append(turn)
    plan.switchover = plan.switchover or leads
    stopping = [name for name in names if name not in RELOADED]
    if not others and stopping:
        plan.outages.append(f"{' and '.join(stopping)} on {server}, which nobody stands in for")


def notes(facts: Facts) -> Iterator[str]:
    """What a person should know beside the table."""
    old = sorted(
        server for server, known in facts.items() if known["lists_age"] is None or known["lists_age"] > STALE_LISTS
    )
    if old:
        yield f"the package lists of {', '.join(old)} are older than a day; a run without --check fetches them first"


def show(plan: Plan) -> list[str]:
    """The plan as lines for a person."""
    orders = {(turn.server, name): turn for turn in plan.turns for name in turn.components}
    rows: list[tuple[str, ...]] = [HEADING]
    for row in sorted(plan.rows, key=lambda row: turn_number(orders.get((row.server, row.component)))):
        turn = orders.get((row.server, row.component))
        happens = {RESTART: "needs restart"}.get(row.action, row.action)
        says = f"{happens} ({row.why})" if row.why else happens
        number = str(turn.order) if turn else "-"
        rows.append((row.server, row.component, row.installed, row.candidate, number, says))
    lines = aligned(rows)
    if plan.switchover and not plan.refusals:
        led = plan.after[0]
        lines.append(f"before turn {led.order}, {led.server} hands the lead over (playbooks/switchover.yml)")
    lines += plan.notes
    return lines if plan.turns or plan.refusals else [*lines, "nothing to do"]


def turn_number(turn: Turn | None) -> int:
    """Where a turn stands in the table; what has none comes last."""
    return turn.order if turn else 10**6
