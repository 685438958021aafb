# Copyright: Nectar Backend contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of an endpoint's addresses is used: one that is proven and that a rule puts first, or none."""

from __future__ import annotations

import functools
import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.address_order import deciding_rule, order_key
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Judged, Observation, Verdict
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import (
    DNS,
    FAMILIES,
    LAST_GOOD,
    Candidate,
    Endpoint,
    IPNetwork,
    LastGood,
    Lookup,
    Settings,
)

# What a person should hear first when nothing may be chosen.
URGENCY = (
    Verdict.WRONG_SERVER,
    Verdict.TLS_MISMATCH,
    Verdict.REACHABLE,
    Verdict.SILENT,
    Verdict.REFUSED,
    Verdict.FILTERED,
    Verdict.UNREACHABLE,
    Verdict.STALE,
    Verdict.FORBIDDEN,
)
# Verdicts that hint at an address that is no longer in use; what answers as somebody else keeps its own verdict.
DOUBTFUL = (Verdict.REACHABLE, Verdict.SILENT, Verdict.REFUSED, Verdict.FILTERED, Verdict.UNREACHABLE)
HEARSAY = frozenset({DNS, LAST_GOOD})
TRUTH = frozenset({"registry", "inventory", "cloud"})
# Interfaces that containers and virtual machines of one host share; `br0` and the like may be a server's own.
BRIDGES = re.compile(
    r"(docker|podman|cni|virbr|lxcbr|lxdbr|incusbr|cali|flannel|weave|veth|vnet|kube-|cbr)\S*|br-[0-9a-f]{12}"
)
# What a result says about an observation, but for what stands beside it already.
EVIDENCE = tuple(item.name for item in fields(Observation) if item.name not in ("phase", "seconds", "attempts"))
SHOWN = 3  # candidates that a sentence names; the result lists them all


@dataclass(frozen=True)
class Decision:
    """What was decided for one endpoint; every candidate says why it was taken or not."""

    endpoint: Endpoint
    ok: bool
    verdict: Verdict
    why: str
    chosen: Candidate | None
    candidates: tuple[Judged, ...]
    lookups: tuple[Lookup, ...] = ()

    def as_result(self) -> dict[str, Any]:
        """The decision in plain values, as the module returns it."""
        return {
            "name": self.endpoint.name,
            "probe": self.endpoint.probe,
            "ok": self.ok,
            "address": self.chosen.address if self.chosen else None,
            "port": self.chosen.port if self.chosen else None,
            "verdict": str(self.verdict),
            "why": self.why,
            "candidates": [_candidate_result(item) for item in self.candidates],
            "lookups": [_lookup_result(lookup) for lookup in self.lookups],
        }


def _candidate_result(item: Judged) -> dict[str, Any]:
    seen = item.observation
    return {
        "address": item.candidate.address,
        "port": item.candidate.port,
        "sources": list(item.candidate.labels),
        "verdict": str(item.verdict),
        "reason": item.reason,
        "seconds": round(seen.seconds, 3) if seen else 0.0,
        "attempts": seen.attempts if seen else 0,
        "age": item.candidate.age,
        "evidence": _evidence(seen) if seen else {},
    }


def _evidence(seen: Observation) -> dict[str, Any]:
    facts = {key: getattr(seen, key) for key in EVIDENCE}
    return {"phase": str(seen.phase)} | {
        key: value for key, value in facts.items() if value not in (None, "", {}, False)
    }


def _lookup_result(lookup: Lookup) -> dict[str, Any]:
    services = [f"{service.target}:{service.port}" for service in lookup.services]
    return {
        "server": lookup.server,
        "name": lookup.name,
        "type": lookup.type,
        "outcome": lookup.outcome,
        "addresses": [*lookup.addresses, *services],
        "detail": lookup.detail,
        "seconds": round(lookup.seconds, 3),
    }


def forbid(endpoint: Endpoint, candidate: Candidate, settings: Settings) -> Judged | None:
    """Refuse an address that must not even be probed; None where it may be."""
    reason, allowance = _forbidden(candidate, settings)
    if not reason or allowance in endpoint.allow:
        return None
    remedy = f"correct the address where it comes from ({', '.join(candidate.labels)})"
    exception = f", or write allow: [{allowance}]" if allowance else ""
    return Judged(candidate, Verdict.FORBIDDEN, f"{candidate} {reason}; {remedy}{exception}")


def _forbidden(candidate: Candidate, settings: Settings) -> tuple[str, str]:
    """What is wrong with an address as such, and by which word an endpoint may allow it."""
    address = candidate.ip
    network = next((text for text in settings.forbidden_networks if address in _network(text)), "")
    bridge = next((source.interface for source in candidate.sources if BRIDGES.fullmatch(source.interface)), "")
    first = address.packed[0]
    if candidate.port == 0:
        return "has no port", ""
    if network:
        return f"is in {network}, which forbidden_networks excludes", ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return "is an IPv4-mapped IPv6 address, which no server has", ""
    if address.is_unspecified or (address.version == 4 and first == 0):
        return "is no host's address but a wish to listen on all of them", ""
    if address.is_multicast or (address.version == 4 and first >= 240):
        return "is no single host's address", ""
    if address.is_loopback:
        return "is the loopback of whoever connects, not the server", "loopback"
    if address.is_link_local:
        return "is link-local: it means another host on every network", "link_local"
    return (f"is on the container bridge {bridge}, which only its own host can reach", "bridge") if bridge else ("", "")


@functools.cache
def _network(text: str) -> IPNetwork:
    return ipaddress.ip_network(text)


def choose(
    endpoint: Endpoint,
    judged: Sequence[Judged],
    lookups: Iterable[Lookup] = (),
    settings: Settings | None = None,
    last_good: LastGood | None = None,
) -> Decision:
    """Decide. The order of `judged` and `lookups`, which is that of arrival, has no say."""
    asked = tuple(lookups)
    known = _mark_stale(endpoint, _in_order(endpoint, judged), (settings or Settings()).max_age)
    eligible = [item for item in known if _is_eligible(endpoint, item)]

    def decide(verdict: Verdict, why: str, notes: dict[Candidate, str], winner: Judged | None = None) -> Decision:
        candidates = tuple(_with_note(item, notes.get(item.candidate, "")) for item in known)
        return Decision(
            endpoint, winner is not None, verdict, why, winner.candidate if winner else None, candidates, asked
        )

    failed = [lookup for lookup in asked if lookup.outcome == "failed"]
    if failed:
        why = _failed_lookups(failed)
        return decide(Verdict.SILENT, why, {item.candidate: f"for {why}" for item in eligible})
    if not eligible:
        return decide(*_nothing_eligible(endpoint, known, asked), {})
    choice = _narrow(endpoint, eligible, last_good)
    if len(choice.remaining) > 1:
        why = _ambiguity(choice.remaining)
        tied = {item.candidate: "for nothing settles which of several to take" for item in choice.remaining}
        return decide(Verdict.AMBIGUOUS, why, {**choice.dropped, **tied})
    winner = choice.remaining[0]
    settled = " and ".join(choice.rules) or f"no other address is {endpoint.accept}"
    return decide(winner.verdict, f"{winner.reason}; {settled}", choice.dropped, winner)


def _in_order(endpoint: Endpoint, judged: Iterable[Judged]) -> list[Judged]:
    places = {candidate: place for place, candidate in enumerate(endpoint.candidates)}
    return sorted(judged, key=lambda item: (places.get(item.candidate, len(places)), str(item.candidate)))


def _with_note(item: Judged, note: str) -> Judged:
    return replace(item, reason=f"{item.reason}; not chosen, {note}") if note else item


def _is_eligible(endpoint: Endpoint, item: Judged) -> bool:
    return item.verdict == Verdict.PROVEN or item.verdict == endpoint.accept


def _mark_stale(endpoint: Endpoint, judged: Iterable[Judged], max_age: float) -> list[Judged]:
    named = [candidate for candidate in endpoint.candidates if candidate.kinds & TRUTH]
    return [
        replace(item, verdict=Verdict.STALE, reason=f"{item.reason}; {reason}")
        if item.verdict in DOUBTFUL and (reason := _staleness(item, named, max_age))
        else item
        for item in judged
    ]


def _staleness(item: Judged, named: Sequence[Candidate], max_age: float) -> str:
    """Why an unproven address is held for a former one; "" when it isn't."""
    kinds, labels, age = item.candidate.kinds, ", ".join(item.candidate.labels), item.candidate.age
    if kinds <= HEARSAY and named:
        return f"only {labels} names it, where {', '.join(named[0].labels)} names {_some(named)}: correct what is out of date"
    if age is not None and age > max_age:
        return (
            f"{labels} named it {_duration(age)} ago, longer than max_age ({_duration(max_age)}): ask that source again"
        )
    if kinds <= {LAST_GOOD} and item.verdict == Verdict.REACHABLE:
        return "only the past names it, and nothing proves who answers there: name it in a source, or have its identity proven"
    return ""


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _some(items: Sequence[object]) -> str:
    """A few of many, for a sentence."""
    shown = ", ".join(str(item) for item in items[:SHOWN])
    return f"{shown} and {len(items) - SHOWN} more" if len(items) > SHOWN else shown


def _failed_lookups(failed: Sequence[Lookup]) -> str:
    questions = sorted({(item.server, item.name, item.type, item.detail) for item in failed})
    said = [
        f"name server {server} gives no answer for {name} ({kind}: {detail})"
        for server, name, kind, detail in questions
    ]
    return (
        f"{_some(said)}; what a silent source would say is unknown, so no address is taken: mend it, "
        f"or take it out of name_servers"
    )


def _nothing_eligible(endpoint: Endpoint, judged: Sequence[Judged], lookups: Sequence[Lookup]) -> tuple[Verdict, str]:
    unknown = sorted({f"{item.name} ({item.server})" for item in lookups if item.outcome == "no_such_name"})
    if not judged:
        names = _some([*endpoint.names, *endpoint.services])
        said = f"there is no name {_some(unknown)}" if unknown else f"{names} has no address"
        return Verdict.NO_SUCH_NAME, f"{said}; correct names or services, or enter the name in DNS"
    ranked = sorted(judged, key=lambda item: URGENCY.index(item.verdict))
    reasons = ". ".join(f"{item.reason[:1].upper()}{item.reason[1:]}" for item in ranked[:SHOWN])
    more = f". {len(ranked) - SHOWN} more are in candidates" if len(ranked) > SHOWN else ""
    names = f". There is no name {_some(unknown)}" if unknown else ""
    return ranked[0].verdict, f"no address is {endpoint.accept}. {reasons}{more}{names}"


@dataclass(frozen=True)
class Choice:
    """What the rules leave, why the others went, and which rules had a say."""

    remaining: list[Judged]
    dropped: dict[Candidate, str]
    rules: list[str]


def _narrow(endpoint: Endpoint, eligible: list[Judged], last_good: LastGood | None) -> Choice:
    """Apply one rule after the other; each keeps those that it puts first."""
    remaining: list[Judged] = eligible
    rules: list[str] = []
    left: list[tuple[Judged, Callable[[str], str]]] = []
    for phrase, key in _rules(endpoint, last_good) if len(eligible) > 1 else ():
        keys = [key(item) for item in remaining]
        best = min(keys)
        beaten = [(item, own) for item, own in zip(remaining, keys, strict=True) if own != best]
        if not beaten:
            continue
        left += [(item, functools.partial(phrase, best, own)) for item, own in beaten]
        rules.append(phrase(best, beaten[0][1], "it"))
        remaining = [item for item, own in zip(remaining, keys, strict=True) if own == best]
    first = str(remaining[0].candidate)
    return Choice(remaining, {item.candidate: f"for {why(first)}" for item, why in left}, rules)


Phrase = Callable[[Any, Any, str], str]
Rule = tuple[Phrase, Callable[[Judged], Any]]


def _rules(endpoint: Endpoint, last_good: LastGood | None) -> list[Rule]:
    """The rules in the order in which they have their say; each key sorts the better ones first."""
    past = (last_good.address, last_good.port) if last_good else None
    return [
        (_says("{} is proven"), lambda item: item.verdict != Verdict.PROVEN),
        (_says("a source names {} today, and not only the past"), lambda item: item.candidate.kinds <= {LAST_GOOD}),
        (_says("prefer puts {} first"), lambda item: _preference(endpoint.prefer, item.candidate)),
        (
            _says(f"{{}} was chosen the last time and is still {endpoint.accept}"),
            lambda item: (item.candidate.address, item.candidate.port) != past,
        ),
        (_says("the registry puts {} first"), lambda item: _place(item.candidate, "registry")),
        (_says("the inventory puts {} first"), lambda item: _place(item.candidate, "inventory")),
        (_says("SRV records put {} first"), lambda item: _place(item.candidate, DNS)),
        (
            lambda best, own, name: f"RFC 6724 puts {name} first ({deciding_rule(best, own)})",
            lambda item: order_key(item.candidate.address, item.observation.local if item.observation else ""),
        ),
    ]


def _says(text: str) -> Phrase:
    return lambda best, own, name: text.format(name)


def _preference(prefer: Sequence[str], candidate: Candidate) -> int:
    family = FAMILIES[candidate.ip.version == 6]
    places = (
        place
        for place, wanted in enumerate(prefer)
        if wanted == family or (wanted not in FAMILIES and candidate.ip in _network(wanted))
    )
    return next(places, len(prefer))


def _place(candidate: Candidate, kind: str) -> float:
    return min(
        (source.order for source in candidate.sources if source.kind == kind and source.order is not None),
        default=math.inf,
    )


def _ambiguity(remaining: Sequence[Judged]) -> str:
    both = "both" if len(remaining) == 2 else f"all {len(remaining)}"
    return (
        f"{_some([item.candidate for item in remaining])} are {both} {remaining[0].verdict}, and no rule puts one first; "
        f"order them in the registry, or say which networks to prefer"
    )
