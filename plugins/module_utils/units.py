# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The systemd units of a slot, as texts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.revisions import render

IDENTITY_PROGRAM = "/usr/local/lib/nectar/identity-slot"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

# What every process of a deployment gives up. Writing is left in its shared folder and in a /tmp of its own.
HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0027
"""


@dataclass(frozen=True)
class Limits:
    """What one process may use (megabytes, threads), and how many seconds it may take to stop, or to migrate.

    `memory_max` is for what no budget has a share for. Of a migration, also for how many seconds a statement may wait for a lock, and run;
    with 0 it may run for as long as all of them together.
    """

    memory_max: int
    tasks_max: int
    stop_timeout: int
    migrate_timeout: int
    migrate_lock_timeout: int = 5
    migrate_statement_timeout: int = 0


@dataclass(frozen=True)
class Paths:
    """Where things of a deployment lie."""

    release: str
    shared: str
    environment_file: str
    identity_file: str


def unit_prefix(deployment: str, slot: str) -> str:
    """Return what the names of a slot's units start with."""
    return f"nectar-{deployment}-{slot}"


def limits_of(deployment: Mapping[str, Any], process: str | None, limits: Limits) -> Limits:
    """Return a process's limits with the memory of its share; without a process, the whole slot's, which a migration precedes."""
    share = deployment.get("share")
    if not share:
        return limits
    return replace(limits, memory_max=int(share["memory"] if process is None else share["memory_max"][process]))


def target_unit(deployment: str, slot: str) -> str:
    """Return the unit that stands for the slot."""
    return f"{unit_prefix(deployment, slot)}.target"


def migrate_unit(deployment: str) -> str:
    """Return the unit that migrates a deployment."""
    return f"nectar-{deployment}-migrate.service"


def process_units(deployment: str, slot: str, processes: Mapping[str, Mapping[str, Any]], *types: str) -> list[str]:
    """Return the services of a slot's processes of these types."""
    prefix = unit_prefix(deployment, slot)
    return [f"{prefix}-{name}.service" for name, process in processes.items() if process["type"] in types]


def timer_units(deployment: str, slot: str, processes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the timers of a slot."""
    return [unit.replace(".service", ".timer") for unit in process_units(deployment, slot, processes, "timer")]


def identity_unit(deployment: str, slot: str) -> str:
    """Return the unit that says what the slot runs."""
    return f"{unit_prefix(deployment, slot)}-identity.service"


def command_line(command: str, values: Mapping[str, str], release: str) -> str:
    """Write a command as systemd reads it; a program without a folder is the release's own."""
    words = [render(word, values) for word in shlex.split(command)]
    program = words[0] if "/" in words[0] else f"{release}/bin/{words[0]}"
    return " ".join(_word(word) for word in (program, *words[1:]))


def _word(word: str) -> str:
    # Specifiers and variables are systemd's own; an application means its % and $ as such.
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if word and not set(word) & set(" \t'\"\\;") else f'"{escaped}"'


def slot_units(
    deployment: Mapping[str, Any],
    slot: str,
    values: Mapping[str, str],
    paths: Paths,
    limits: Limits,
) -> dict[str, str]:
    """Return the texts of a slot's units by name."""
    name, processes = deployment["name"], deployment["processes"]
    target, identity = target_unit(name, slot), identity_unit(name, slot)
    web = process_units(name, slot, processes, "web")
    services = process_units(name, slot, processes, "web", "worker")
    units = {
        target: _target(name, slot, [*services, identity]),
        identity: _identity(deployment, slot, target, web, paths),
    }
    for process_name, process in processes.items():
        service = f"{unit_prefix(name, slot)}-{process_name}.service"
        command = command_line(process["command"], values, paths.release)
        purpose = f"slot {slot}, process {process_name}"
        own = limits_of(deployment, process_name, limits)
        if process["type"] == "timer":
            units[service] = _service(deployment, purpose, [command], paths, own, "Type=oneshot\n")
            units[service.replace(".service", ".timer")] = _timer(deployment, purpose, process["schedule"], target)
        else:
            companion = f"Wants={identity}\n" if process["type"] == "web" else ""
            units[service] = _service(
                deployment,
                purpose,
                [command],
                paths,
                own,
                "Type=exec\nRestart=always\nRestartSec=1\n",
                target,
                companion,
            )
    return units


def migration_variables(deployment: Mapping[str, Any], limits: Limits) -> dict[str, str]:
    """Return what libpq is to know of a migration: who it is, and when PostgreSQL gives it up.

    Processes are held to the statement timeout of their role. While a migration waits for a lock, requests queue behind it, so that wait is
    short. A session whose program was ended on the way is noticed in seconds, and does nothing more.
    """
    lock, statement = migration_times(deployment, limits)
    options = {
        "lock_timeout": f"{lock}s",
        "statement_timeout": f"{statement or limits.migrate_timeout}s",
        "client_connection_check_interval": "5s",
    }
    return {
        "PGAPPNAME": migration_name(deployment["name"]),
        "PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }


def migration_times(deployment: Mapping[str, Any], limits: Limits) -> tuple[int, int]:
    """Return for how many seconds a statement of a migration may wait for a lock, and run; the application's own word counts."""
    lock, statement = (deployment.get(f"migrate_{name}_timeout") for name in ("lock", "statement"))
    return (
        limits.migrate_lock_timeout if lock is None else lock,
        limits.migrate_statement_timeout if statement is None else statement,
    )


def migration_name(deployment: str) -> str:
    """Return what a migration's sessions call themselves; PostgreSQL cuts off what is longer."""
    return f"nectar-{deployment}-migrate"[:63]


def migration_unit(
    deployment: Mapping[str, Any], values: Mapping[str, str], paths: Paths, limits: Limits
) -> dict[str, str]:
    """Return the unit that runs a deployment's migrations, if it has any."""
    commands = [command_line(command, values, paths.release) for command in deployment["migrate"]]
    if not commands:
        return {}
    kind = f"Type=oneshot\nTimeoutStartSec={limits.migrate_timeout}\n"
    own = limits_of(deployment, None, limits)
    return {migrate_unit(deployment["name"]): _service(deployment, "migration", commands, paths, own, kind)}


def _target(name: str, slot: str, services: Sequence[str]) -> str:
    return (
        f"[Unit]\nDescription=Nectar: {name}, slot {slot}\nWants={' '.join(services)}\nAfter=network-online.target\n"
        "Wants=network-online.target\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def _service(
    deployment: Mapping[str, Any],
    purpose: str,
    commands: Sequence[str],
    paths: Paths,
    limits: Limits,
    kind: str,
    target: str = "",
    companion: str = "",
) -> str:
    part_of = f"PartOf={target}\n" if target else ""
    return (
        f"[Unit]\nDescription=Nectar: {deployment['name']}, {purpose}\nAfter=network-online.target\n{part_of}{companion}"
        # A process that can't start is tried again for as long as its slot is wanted.
        f"StartLimitIntervalSec=0\n\n[Service]\n{kind}User={deployment['user']}\nGroup={deployment['user']}\n"
        f"WorkingDirectory={paths.shared}\nEnvironment=HOME={paths.shared} PATH={paths.release}/bin:{SYSTEM_PATH} LANG=C.UTF-8\n"
        f"Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1\nEnvironmentFile={paths.environment_file}\n"
        + "".join(f"ExecStart={command}\n" for command in commands)
        + f"KillMode=mixed\nTimeoutStopSec={limits.stop_timeout}\nMemoryMax={limits.memory_max}M\nTasksMax={limits.tasks_max}\n"
        f"ReadWritePaths={paths.shared}\nRestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n{HARDENING}"
    )


def _identity(deployment: Mapping[str, Any], slot: str, target: str, web: Sequence[str], paths: Paths) -> str:
    # Bound to the web process: where that one is gone, nobody speaks for the slot.
    bound = "".join(f"BindsTo={unit}\nAfter={unit}\n" for unit in web)
    directory = f"nectar/{deployment['name']}-{slot}"
    return (
        f"[Unit]\nDescription=Nectar: {deployment['name']}, slot {slot}, identity\nPartOf={target}\n{bound}\n"
        f"[Service]\nType=exec\nUser={deployment['user']}\nGroup={deployment['user']}\nRuntimeDirectory={directory}\nRuntimeDirectoryMode=0755\n"
        f"ExecStart=/usr/bin/python3 -I -S {IDENTITY_PROGRAM} {paths.identity_file} /run/{directory}/identity.sock\n"
        "Restart=always\nRestartSec=1\nMemoryMax=32M\nTasksMax=4\nRestrictAddressFamilies=AF_UNIX\n"
        f"{HARDENING.replace('UMask=0027', 'UMask=0000')}"
    )


def _timer(deployment: Mapping[str, Any], purpose: str, schedule: str, target: str) -> str:
    return (
        f"[Unit]\nDescription=Nectar: {deployment['name']}, {purpose}\nPartOf={target}\n\n"
        f"[Timer]\nOnCalendar={schedule}\nPersistent=no\n\n[Install]\nWantedBy={target}\n"
    )
