# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What went wrong in a run, in the words that a person needs: where, what, and what to do."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

SHOWN_LINES = 6
LINK = "/.ansible/collections/ansible_collections/nectar/backend/"

UNREACHABLE_REMEDY = (
    "check that the host runs (`sudo podman ps` in the lab), that it answers on port 22, "
    "and that its host key is the one in the inventory; then run the same command again."
)
# These actions fail for no other reason than that somebody wrote down why, and what to do.
SPOKEN_ACTIONS = ("assert", "fail")
SPOKEN_REMEDY = "do what the message says, then run the same command again: it goes on."
DEFAULT_REMEDY = "read the log from the failed task on; when it is put right, run the same command again: it goes on."

# What a message betrays, and what to do about it. The first that fits is shown.
REMEDIES = (
    (r"sudo: a password is required|Missing sudo password", "run it as `sudo make …`, or let sudo ask no password."),
    (r"No space left on device", "free some space on that host's filesystem, then run again."),
    (
        r"Could not get lock|dpkg.*lock|is another process using it",
        "another package manager is at work there; wait for it, then run again.",
    ),
    (
        r"Temporary failure resolving|Could not resolve|Failed to fetch|Network is unreachable",
        "the host can't reach Debian's packages: check this machine's network and name service.",
    ),
    (
        r"Address already in use|Bind for .* failed|subnet .* is already used",
        "something else holds that address; the message names it.",
    ),
    (
        r"output has been hidden",
        "the task handles a secret, so its output is hidden; its name and place tell where to look.",
    ),
)


@dataclass(frozen=True)
class Failure:
    """One task that failed on one or more hosts with the same words."""

    hosts: tuple[str, ...]
    task: str
    place: str
    message: str
    output: tuple[str, ...] = ()
    unreachable: bool = False
    spoken: bool = False


def read_failure(event: Mapping[str, Any], root: str) -> Failure:
    """Make a failure of a `runner_on_failed` or `runner_on_unreachable` event."""
    data = event["event_data"]
    result = data.get("res") or {}
    culprits = [item for item in _items(result) if item.get("failed") or item.get("rc") or "exception" in item]
    culprit = culprits[0] if culprits else result
    role = data.get("role")
    return Failure(
        hosts=(data["host"],),
        task=f"{role} : {data['task']}" if role else data["task"],
        place=relative_place(data.get("task_path", ""), root),
        message=_message(culprit),
        output=_output(culprit),
        unreachable=event["event"] == "runner_on_unreachable",
        spoken=data.get("task_action", "").rpartition(".")[2] in SPOKEN_ACTIONS,
    )


def group_failures(failures: Iterable[Failure]) -> list[Failure]:
    """Show once what several hosts say alike."""
    grouped: dict[Failure, tuple[str, ...]] = {}
    for failure in failures:
        key = replace(failure, hosts=())
        grouped[key] = grouped.get(key, ()) + failure.hosts
    return [replace(key, hosts=hosts) for key, hosts in grouped.items()]


def find_remedy(failure: Failure) -> str:
    """Say what to do; where the message says it already, it stands above this line."""
    if failure.unreachable:
        return UNREACHABLE_REMEDY
    if failure.spoken:
        return SPOKEN_REMEDY
    text = "\n".join((failure.message, *failure.output))
    return next((remedy for pattern, remedy in REMEDIES if re.search(pattern, text)), DEFAULT_REMEDY)


def relative_place(path: str, root: str) -> str:
    """Name a file as a person in the clone would, not by the collection's link."""
    return path.replace(LINK, "/").removeprefix(f"{root}/")


def _items(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = result.get("results")
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _message(result: Mapping[str, Any]) -> str:
    message = result.get("msg") or result.get("censored") or result.get("reason") or "no message"
    label = result.get("_ansible_item_label")
    text = "\n".join(map(str, message)) if isinstance(message, list) else str(message)
    return f"{label}: {text}" if label is not None and not isinstance(label, Mapping) else text


def _output(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The first lines of each stream that the message doesn't hold already."""
    message = str(result.get("msg", ""))
    streams = [result.get(name) for name in ("module_stderr", "stderr", "module_stdout", "stdout")]
    lines: list[str] = []
    for stream in streams:
        if isinstance(stream, str) and stream.strip() and stream.strip() not in message:
            lines += [line.rstrip() for line in stream.splitlines() if line.strip()][:SHOWN_LINES]
    return tuple(lines)
