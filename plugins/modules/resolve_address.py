#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the address of each endpoint that is proven to lead to the right service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resolve_address
short_description: Find the address of each endpoint that is proven to lead to the right service
version_added: "0.1.0"
description:
  - Takes endpoints, that is services that you want to reach, with all the addresses that any source proposes for them. Connects to every
    address on the service's own port, from the host on which the task runs, and finds out who answers there.
  - Chooses one address for each endpoint, and says why; says of each other address why it was not taken.
  - An address is V(proven) when the service itself shows that it is the right one, by its certificate, its identity document, its SSH host
    key, or as the PostgreSQL server that knows your role. That something answers is no proof.
  - Which answer came first has no say. Among several proven addresses these rules decide, in this order, each only where those before it
    settle nothing. O(endpoints[].prefer), the address that was chosen the last time, the order of the candidates in the registry, then in
    the inventory, the priority of SRV records, and RFC 6724, which is how a system orders addresses. Where all of these leave two, none is
    chosen, and the verdict is V(ambiguous).
  - All addresses are tried at the same time. 10,000 of them take little more than O(timeout).
  - The verdicts are V(proven), V(reachable) (it answers, and who it is is not known), V(wrong_server), V(refused), V(filtered) (no answer to
    any attempt, as from a firewall that drops), V(silent) (the connection is accepted, and nothing is said, as by a frozen host),
    V(unreachable) (no route), V(no_such_name), V(tls_mismatch) (the certificate's name, chain or dates), V(stale) (only DNS or the past
    names it, and it isn't proven), V(ambiguous) and V(forbidden) (an address that can't be a server's, such as a loopback; it isn't tried).
author:
  - Nectar Backend maintainers (@nectar)
options:
  endpoints:
    description: What is to be reached. All mistakes in it are told at once, before anything is tried.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the result calls it; each endpoint has a name of its own.
        type: str
        required: true
      probe:
        description:
          - How the service is asked who it is.
          - V(tcp) only connects, and proves nothing. V(tls) looks at the certificate. V(http) asks for O(endpoints[].path), with TLS or
            without. V(ssh) runs OpenSSH's C(ssh), which knows O(endpoints[].host_keys) and no other key. V(postgresql) asks for TLS, and with
            O(endpoints[].user) logs in and asks whether the server is the primary.
          - One of V(tcp), V(tls), V(http), V(ssh), V(postgresql).
        type: str
        required: true
      port:
        description: The port on which the service listens; a candidate or an SRV record may have another.
        type: int
        required: true
      candidates:
        description: The addresses that are proposed. Those of one source stand in your order of preference, the best first.
        type: list
        elements: dict
        suboptions:
          address:
            description: An IPv4 or IPv6 address.
            type: str
            required: true
          source:
            description: Who proposes it, V(registry), V(inventory), V(facts) or V(cloud).
            type: str
            required: true
          port:
            description: The port at this address, where it isn't the endpoint's.
            type: int
          interface:
            description: The interface that has it, where the source is V(facts); those of container bridges are forbidden.
            type: str
          age:
            description: Seconds since the source knew it; leave it out where the source knows it now.
            type: float
      names:
        description: Host names, looked up as A and AAAA on each of O(name_servers).
        type: list
        elements: str
      services:
        description: Names of SRV records, such as V(_https._tcp.example.org).
        type: list
        elements: str
      server_name:
        description: The name that the certificate must have, and that HTTP asks for. For V(tls), V(http) and V(postgresql).
        type: str
      tls:
        description: Whether V(http) or V(postgresql) speaks TLS. Left out, it does.
        type: bool
      ca_file:
        description: The authorities that may vouch for the server, on the host on which the task runs. Left out, those that the system trusts.
        type: path
      path:
        description: What V(http) asks for. Left out, V(/).
        type: str
      status:
        description: The HTTP status codes that count as an answer. Left out, 200.
        type: list
        elements: int
      identity:
        description: What the JSON document at O(endpoints[].path) must say; it may say more.
        type: dict
      host_keys:
        description: The SSH server's public keys, as they stand in its C(/etc/ssh/ssh_host_*_key.pub).
        type: list
        elements: str
      host_key_alias:
        description: What the SSH server is called in messages and in its proof.
        type: str
      user:
        description: Whom to log in as. Left out, V(ssh) stops once the host key is proven, V(postgresql) once TLS is.
        type: str
      private_key_file:
        description: The key to log in with over SSH. Left out, those that C(ssh) finds for itself.
        type: path
      password:
        description: The PostgreSQL role's password; SCRAM-SHA-256 never sends it, and proves that the server knows it too. MD5 is answered on loopback alone.
        type: str
      database:
        description: The PostgreSQL database. Left out, it is named as O(endpoints[].user) is.
        type: str
      role:
        description: What the PostgreSQL server must be, V(primary), V(replica) or V(any). Left out, V(any).
        type: str
      accept:
        description: The least verdict that may be chosen, V(proven) or V(reachable). Left out, V(proven), and V(reachable) for V(tcp).
        type: str
      allow:
        description: Kinds of address that may be used although they are forbidden elsewhere, V(loopback), V(link_local), V(bridge).
        type: list
        elements: str
      prefer:
        description: Networks, or V(ipv4) and V(ipv6), the best first.
        type: list
        elements: str
  name_servers:
    description:
      - Who is asked for O(endpoints[].names) and O(endpoints[].services), V(system) for the resolver of the host, or addresses of name servers.
      - Each of them must answer. One that is silent, or that fails, leaves the endpoint without an address, for what it would have said
        is not known. That there is no such name is an answer.
    type: list
    elements: str
    default: [system]
  timeout:
    description: Seconds within which a connection must come about, and as many again within which the service must have said who it is.
    type: float
    default: 4.0
  attempts:
    description: How often to try within O(timeout), evenly spaced, before an address is held for V(filtered).
    type: int
    default: 3
  parallel:
    description: How many connections may be open at a time; the limit of the process (C(ulimit -Hn)) holds too.
    type: int
    default: 10000
  max_age:
    description: Seconds after which a past answer is out of date.
    type: float
    default: 86400
  state_file:
    description:
      - Where the last good answers are kept, readable by their owner alone. An address that was chosen is kept while it is still proven.
      - Left out, nothing is remembered. An unchanged answer is dated anew after a quarter of O(max_age).
    type: path
  forbidden_networks:
    description: Networks in which no endpoint may be.
    type: list
    elements: str
    default: []
  on_unproven:
    description: Whether an endpoint without an address is a failure, or only reported; the result is the same.
    type: str
    choices: [fail, report]
    default: fail
requirements:
  - python3-dnspython, for O(endpoints[].services) and for name servers other than V(system)
  - openssh-client, for V(ssh)
notes:
  - The task's host is the viewpoint. Use C(delegate_to) to ask from another one.
  - Nothing is written on the host but O(state_file).
attributes:
  check_mode:
    description: Looks and decides as always, and leaves O(state_file) as it is.
    support: full
  diff_mode:
    description: Shows what changes in O(state_file).
    support: full
"""

EXAMPLES = r"""
- name: See which of two addresses accepts connections
  nectar.backend.resolve_address:
    endpoints:
      - name: web
        probe: tcp
        port: 443
        candidates:
          - {address: 192.0.2.10, source: inventory}
          - {address: "2001:db8::10", source: inventory}
  register: found

- name: Use the address that was chosen
  ansible.builtin.debug:
    msg: "{{ found.endpoints[0].address }}, for {{ found.endpoints[0].why }}"

- name: Take no address for Alice's deployment that doesn't say it is hers
  nectar.backend.resolve_address:
    endpoints:
      - name: alice/https
        probe: http
        port: 443
        names: [alice.example.org]
        candidates:
          - {address: 192.0.2.10, source: registry}
        server_name: alice.example.org
        ca_file: /etc/nectar/tls/ca.crt
        path: /.well-known/nectar
        identity: {deployment: alice}
    name_servers: [system, 192.0.2.53]

- name: Find a server by its host key, over the second network where the first is dead
  nectar.backend.resolve_address:
    endpoints:
      - name: app1
        probe: ssh
        port: 22
        candidates:
          - {address: 10.0.0.21, source: registry}
          - {address: 10.1.0.21, source: registry}
        host_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBeLWUTQ0jCU9pHpDNoUlOlWN7z+ktUTBdMc9cVhY7QX"]
        host_key_alias: app1
    state_file: "{{ lookup('ansible.builtin.env', 'HOME') }}/.cache/addresses.json"
  delegate_to: localhost

- name: Ask an application server where the primary is, and go on without it
  nectar.backend.resolve_address:
    endpoints:
      - name: alice/primary
        probe: postgresql
        port: 5432
        candidates: "{{ database_addresses | map('community.general.dict_kv', 'address') | map('combine', {'source': 'registry'}) }}"
        server_name: primary.example.org
        ca_file: /etc/nectar/tls/ca.crt
        user: alice
        password: "{{ vault_alice_password }}"
        role: primary
    on_unproven: report
  delegate_to: app1
"""

RETURN = r"""
endpoints:
  description: What was found for each endpoint, in the order in which they were given.
  type: list
  elements: dict
  returned: always, unless the arguments are refused
  contains:
    name: {description: The endpoint's name., type: str, sample: alice/https}
    probe: {description: How it was asked., type: str, sample: http}
    ok: {description: Whether an address may be used., type: bool, sample: true}
    address: {description: The address to use; none where there is no such., type: str, sample: 192.0.2.10}
    port: {description: The port to use., type: int, sample: 443}
    verdict: {description: 'What the chosen address is worth, or why there is none.', type: str, sample: proven}
    why:
      description: In words, why this address, or what is wrong and what to do.
      type: str
      sample: 192.0.2.10:443 says that it is deployment "alice"; no other address is proven
    candidates:
      description: Every address that was proposed.
      type: list
      elements: dict
      contains:
        address: {description: The address., type: str, sample: 192.0.2.99}
        port: {description: The port., type: int, sample: 443}
        sources: {description: Who proposes it., type: list, elements: str, sample: ["dns:192.0.2.53"]}
        verdict: {description: What it is worth., type: str, sample: stale}
        reason:
          description: What was seen, and what to do.
          type: str
          sample: 192.0.2.99:443 refuses connections (ECONNREFUSED)…; only dns:192.0.2.53 names it, where registry names 192.0.2.10:443…
        seconds: {description: How long it took., type: float, sample: 0.012}
        attempts: {description: How often a connection was tried., type: int, sample: 1}
        age: {description: Seconds since the youngest of its sources knew it; none where one knows it now., type: float, sample: 120.0}
        evidence:
          description:
            - What was seen, as far as it was. C(phase) in which the probe ended, C(error) by its errno, C(timed_out), C(heard) (the service said
              something), C(local) (the address that this host used), C(status), C(identity), C(certificate) with C(subject), C(issuer), C(names)
              and C(not_after), C(tls_error), C(host_key), C(fingerprint), C(role), C(error_code) (PostgreSQL's), C(authenticated), C(let_in), C(detail).
          type: dict
          sample: {phase: connect, error: ECONNREFUSED}
    lookups:
      description: What each name server said.
      type: list
      elements: dict
      contains:
        server: {description: Who was asked., type: str, sample: 192.0.2.53}
        name: {description: For which name., type: str, sample: alice.example.org}
        type: {description: 'A, AAAA or SRV.', type: str, sample: A}
        outcome: {description: 'answered, no_such_name, or failed.', type: str, sample: answered}
        addresses: {description: What it said., type: list, elements: str, sample: [192.0.2.99]}
        detail: {description: Why there is no answer., type: str, sample: SERVFAIL}
        seconds: {description: How long it took., type: float, sample: 0.003}
unproven:
  description: The names of endpoints without an address that may be used.
  type: list
  elements: str
  returned: always, unless the arguments are refused
  sample: [bob/https]
seconds:
  description: How long all of it took.
  type: float
  returned: always, unless the arguments are refused
  sample: 4.1
"""

import os
import shutil
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.nectar.backend.plugins.module_utils.address_choice import Decision, choose, forbid
from ansible_collections.nectar.backend.plugins.module_utils.address_verdicts import Judged, judge
from ansible_collections.nectar.backend.plugins.module_utils.endpoints import (
    Endpoint,
    EndpointError,
    LastGood,
    Settings,
    index_lookups,
    lookups_of,
    parse_request,
    propose,
)
from ansible_collections.nectar.backend.plugins.module_utils.last_good import (
    State,
    next_state,
    parse_state,
    past_answers,
    show_state,
)
from ansible_collections.nectar.backend.plugins.module_utils.name_lookup import lacks_dnspython, look_up
from ansible_collections.nectar.backend.plugins.module_utils.probe_engine import probe_all
from ansible_collections.nectar.backend.plugins.module_utils.probe_tls import client_context
from ansible_collections.nectar.backend.plugins.module_utils.registry_checks import Problem
from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text, replace_text

TEXT: dict[str, Any] = {"type": "str"}
TEXTS: dict[str, Any] = {"type": "list", "elements": "str"}
# What a field may hold, and what it is where it is left out, is checked for all endpoints at once by parse_request.
ENDPOINT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "probe": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "candidates": {
        "type": "list",
        "elements": "dict",
        "options": {
            "address": {"type": "str", "required": True},
            "source": {"type": "str", "required": True},
            "port": {"type": "int"},
            "interface": TEXT,
            "age": {"type": "float"},
        },
    },
    "names": TEXTS,
    "services": TEXTS,
    "server_name": TEXT,
    "tls": {"type": "bool"},
    "ca_file": {"type": "path"},
    "path": TEXT,
    "status": {"type": "list", "elements": "int"},
    "identity": {"type": "dict"},
    "host_keys": {**TEXTS, "no_log": False},
    "host_key_alias": {"type": "str", "no_log": False},
    "user": TEXT,
    "private_key_file": {"type": "path", "no_log": False},
    "password": {"type": "str", "no_log": True},
    "database": TEXT,
    "role": TEXT,
    "accept": TEXT,
    "allow": TEXTS,
    "prefer": TEXTS,
}
ARGUMENT_SPEC: dict[str, Any] = {
    "endpoints": {"type": "list", "elements": "dict", "required": True, "options": ENDPOINT_SPEC},
    "name_servers": {**TEXTS, "default": ["system"]},
    "timeout": {"type": "float", "default": 4.0},
    "attempts": {"type": "int", "default": 3},
    "parallel": {"type": "int", "default": 10_000},
    "max_age": {"type": "float", "default": 86_400},
    "state_file": {"type": "path"},
    "forbidden_networks": {**TEXTS, "default": []},
    "on_unproven": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params, began = module.params, time.monotonic()
    path = params["state_file"]
    try:
        endpoints, settings = parse_request(params["endpoints"], params)
        check_files(endpoints)
        text = read_text(path) if path else None
        state = parse_state(text, path)
    except EndpointError as error:
        module.fail_json(msg=f"Nothing was tried, for what is asked can't be answered:\n{error}")
    except (OSError, UnicodeError) as error:
        module.fail_json(msg=f"state_file {path!r} can't be read: {error}; expected a file of resolve_address")
    if lacks_dnspython(endpoints, settings):
        hint = "for services, and for name_servers other than system; on Debian it is the package python3-dnspython"
        module.fail_json(msg=missing_required_lib("dnspython", reason=hint))
    if any(endpoint.probe == "ssh" for endpoint in endpoints) and not shutil.which("ssh"):
        module.fail_json(msg="There is no ssh on this host, which the probe ssh runs; install openssh-client.")

    now = time.time()
    decisions = resolve(endpoints, settings, past_answers(state, now))
    result = as_result(decisions)
    result.update(keep(module, path, text, next_state(state, decisions, now, settings.max_age)))
    result["seconds"] = round(time.monotonic() - began, 3)
    if result["unproven"] and params["on_unproven"] == "fail":
        module.fail_json(msg=explain(decisions), **result)
    module.exit_json(**result)


def resolve(endpoints: Sequence[Endpoint], settings: Settings, past: dict[str, LastGood]) -> list[Decision]:
    """Look up, probe and judge everything at once, then decide for each endpoint."""
    lookups = index_lookups(look_up(endpoints, settings))
    proposed = [propose(endpoint, lookups, past.get(endpoint.name)) for endpoint in endpoints]
    judged: list[list[Judged]] = [[] for _endpoint in proposed]
    pairs = []
    for place, endpoint in enumerate(proposed):
        for candidate in endpoint.candidates:
            refusal = forbid(endpoint, candidate, settings)
            if refusal:
                judged[place].append(refusal)
            else:
                pairs.append((place, endpoint, candidate))
    seen = probe_all([pair[1:] for pair in pairs], settings)
    for (place, endpoint, candidate), observation in zip(pairs, seen, strict=True):
        judged[place].append(judge(endpoint, candidate, observation))
    return [
        choose(endpoint, known, lookups_of(endpoint, lookups), settings, past.get(endpoint.name))
        for endpoint, known in zip(proposed, judged, strict=True)
    ]


def check_files(endpoints: Iterable[Endpoint]) -> None:
    """Refuse files that can't be used before anything is tried."""
    problems: dict[tuple[str, str], Problem] = {}
    for endpoint in endpoints:
        key_file, where = endpoint.private_key_file, f"endpoint {endpoint.name}"
        if key_file and not os.access(key_file, os.R_OK):
            found = f"private_key_file {key_file!r} can't be read on this host"
            problems[key_file, "key"] = Problem(
                found=found, expected="a private SSH key", remedy="correct the path", where=where
            )
        try:
            client_context(endpoint.ca_file, bool(endpoint.server_name))
        except (OSError, ssl.SSLError) as error:
            found = f"ca_file {endpoint.ca_file!r} can't be used on this host ({error})"
            expected = "certificates in PEM format"
            problems[endpoint.ca_file, "ca"] = Problem(
                found=found, expected=expected, remedy="correct the path, or put the file there", where=where
            )
    if problems:
        raise EndpointError(problems.values())


def as_result(decisions: Iterable[Decision]) -> dict[str, Any]:
    endpoints = [decision.as_result() for decision in decisions]
    return {"endpoints": endpoints, "unproven": [item["name"] for item in endpoints if not item["ok"]]}


def keep(module: AnsibleModule, path: str | None, before: str | None, state: State) -> dict[str, Any]:
    """Write the last good answers where they differ from what the file holds."""
    after = show_state(state)
    if not path or after == (before or show_state({})):
        return {"changed": False}
    if not module.check_mode:
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
            replace_text(path, after, mode=0o600)
        except OSError as error:
            module.fail_json(
                msg=f"state_file {path!r} can't be written: {error}; expected a place that this user may write"
            )
    return {
        "changed": True,
        "diff": {"before": before or "", "after": after, "before_header": path, "after_header": path},
    }


def explain(decisions: Sequence[Decision]) -> str:
    failed = [decision for decision in decisions if not decision.ok]
    lines = [f"{item.endpoint.name}: {item.verdict}: {item.why}" for item in failed]
    return "\n".join([f"{len(failed)} of {len(decisions)} endpoints have no address that may be used.", *lines])


if __name__ == "__main__":
    main()
