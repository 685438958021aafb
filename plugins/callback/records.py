# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record runs, whatever happens to them or to the records on the way."""

from __future__ import annotations

DOCUMENTATION = r"""
name: records
type: notification
short_description: Records runs in the environment's ARA server
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Writes each run into a file of its own in a spool folder, and asks no server while the run goes on.
  - When a run has ended, a process of its own posts what waits there to ARA, oldest first and each run exactly once, and deletes what is posted.
  - Where no file says where the records are, runs wait. The spool holds 100 runs and 64 MiB; beyond that the oldest are dropped.
  - Leaves out what C(no_log) hides, extra variables, facts, arguments of modules, and the files of the state folder, vaults and secrets.
requirements:
  - requests, to post
options:
  file:
    description:
      - The file that says where the records are, in JSON; readable by its owner alone, for it holds a password.
      - It holds C(url), the C(address) to connect to, C(ca_file), C(username) and C(password).
      - The spool lies beside it, under its name with C(.spool) for C(.json).
      - If not set, C(records.json) in the state folder, C(${XDG_STATE_HOME:-~/.local/state}/nectar/${NECTAR_LAB:-lab}).
    type: path
    env:
      - name: NECTAR_RECORDS_FILE
    ini:
      - section: callback_records
        key: file
"""

import atexit
import functools
import os
import platform
import pwd
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version
from ansible_collections.nectar.backend.plugins.plugin_utils.records_run import Labels, address_of, login_of, named
from ansible_collections.nectar.backend.plugins.plugin_utils.records_spool import (
    MAX_CONTENT_BYTES,
    RunFile,
    Spool,
    records_file,
    spool_folder,
)

# What a full disk, or an event of an unknown form, may raise.
RECORDING_ERRORS = (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
ARGUMENTS = ("check", "diff", "tags", "skip_tags", "subset", "inventory", "forks", "start_at_task", "verbosity")
HIDDEN = re.compile(r"/(vault|secrets)\.ya?ml$")
# Of a result: what is repeated, large or private, and never shown.
LEFT_OUT = ("ansible_facts", "invocation")
MAX_LOG_BYTES = 256 * 1024
PLAN = "nectar.backend.deployment_plan"


def _recorded(event: Callable[..., None]) -> Callable[..., None]:
    """Nothing that an event meets may disturb the run."""

    @functools.wraps(event)
    def record(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        if self.run is None:
            return
        try:
            event(self, *args, **kwargs)
        except RECORDING_ERRORS as error:
            self.run = None
            self._display.warning(f"From here on this run is not recorded: {event.__name__}: {error!r}")

    return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _shown(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the records get to see of a result, and of each of its items."""
    content = {key: value for key, value in result.items() if key not in LEFT_OUT}
    if isinstance(content.get("results"), list):
        content["results"] = [_shown(item) if isinstance(item, Mapping) else item for item in content["results"]]
    return content


def _person() -> str:
    """Who runs this, by login: variables of the environment could say anything."""
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            login = file.read().strip()
    except OSError:
        login = ""
    number = login_of(login, os.getuid(), os.environ.get("SUDO_UID"))
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


class CallbackModule(CallbackBase):
    """Writes a run down as it goes on, and has it posted when it has ended."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "nectar.backend.records"
    CALLBACK_NEEDS_ENABLED = True

    run: RunFile | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Begin the file of this run."""
        self.file = records_file(self.get_option("file"), os.environ, os.path.expanduser("~"))
        self.spool = Spool(spool_folder(self.file))
        self.labels, self.paths = Labels(), set[str]()
        self.deployments: Mapping[str, Any] = {}
        self.started: dict[str, str] = {}
        self.delegated: dict[str, list[str]] = {}
        given = (str(name) for name in context.CLIARGS.get("extra_vars") or ())
        files_given = tuple(os.path.abspath(name[1:]) for name in given if name.startswith("@"))
        self.hidden = (os.path.dirname(self.file) + os.sep, os.path.dirname(C.DEFAULT_LOCAL_TMP) + os.sep, *files_given)
        began, number = _now(), uuid.uuid4()
        try:
            self.run = self.spool.begin(f"{began[:19].replace(':', '')}-{number}")
        except OSError as error:
            self._display.warning(f"This run is not recorded: {error}")
            return
        os.register_at_fork(after_in_child=self.forget)
        atexit.register(self.end, "interrupted")
        self.begin(str(number), began, os.path.abspath(playbook._file_name))

    @_recorded
    def begin(self, number: str, began: str, path: str) -> None:
        """Write the first line, and the playbook."""
        told = {name: context.CLIARGS[name] for name in ARGUMENTS if context.CLIARGS.get(name)}
        self.tell(
            "run",
            uuid=number,
            started=began,
            path=path,
            ansible_version=ansible_version,
            python_version=platform.python_version(),
            controller=socket.gethostname(),
            person=_person(),
            arguments=told,
        )
        self.label("person", [_person()])
        self.tell_file(path)
        if self.run is not None:
            self.run.flush()

    @_recorded
    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Learn what the run is about, and write the play and the files that it is made of."""
        manager = play.get_variable_manager()
        shared = manager._inventory.groups["all"].get_vars()
        if isinstance(shared.get("deployments"), Mapping):
            self.deployments = shared["deployments"]
        self.label("environment", [shared.get("environment_name")])
        self.label("member", named(manager.extra_vars.get("member")))
        self.label_deployments(named(manager.extra_vars.get("deployment")))
        for path in list(play.get_loader()._FILE_CACHE):
            self.tell_file(path)
        self.tell("play", uuid=play._uuid[:36], name=play.get_name(), at=_now())

    @_recorded
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Write the task."""
        self.tell_task(task, handler=False)

    @_recorded
    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Write the handler."""
        self.tell_task(task, handler=True)

    @_recorded
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Note when a host began, and at which address."""
        name = host.get_name()
        if name not in self.started and (address := address_of(host.vars)):
            self.label("address", [f"{name}={address}"])
        self.started[name] = _now()

    @_recorded
    def v2_runner_on_ok(self, result: Any) -> None:
        """Write what went well, and learn from a plan what is released."""
        if result.task.action == PLAN and isinstance(result.result.get("steps"), Mapping):
            steps = result.result["steps"]
            self.label_deployments(steps)
            self.label("release", [step.get("release") for step in steps.values()])
        self.tell_result(result, "ok")

    @_recorded
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Write what failed."""
        self.tell_result(result, "failed", bool(ignore_errors))

    @_recorded
    def v2_runner_on_skipped(self, result: Any) -> None:
        """Write what was skipped."""
        self.tell_result(result, "skipped")

    @_recorded
    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Write who could not be reached."""
        self.tell_result(result, "unreachable", bool(result.task.ignore_unreachable))

    @_recorded
    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Note to whom an item was delegated: the task's own result doesn't know."""
        if result.task.delegate_to:
            self.delegated.setdefault(result.host.get_name(), []).append(str(result.task.delegate_to))

    v2_runner_item_on_failed = v2_runner_item_on_ok

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End the file, and have it posted."""
        outcome = "failed" if stats.failures else "unreachable" if stats.dark else "ok"
        self.end(outcome, {name: _counts(stats.summarize(name)) for name in stats.processed})
        try:
            self.look_after()
        except OSError as error:
            self._display.warning(f"What waits in {self.spool.folder} is not posted: {error}")

    @_recorded
    def end(self, outcome: str, hosts: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Write the last line, also of a run that is interrupted."""
        if self.run is not None:
            self.tell("end", outcome=outcome, at=_now(), hosts=hosts or {})
            self.run.close()
            self.run = None

    def forget(self) -> None:
        """Leave the file to the process that began it: a worker that outlives it would hold its lock on."""
        if self.run is not None:
            os.close(self.run.descriptor)
            self.run = None

    def look_after(self) -> None:
        """Keep the spool small, say what is wrong with it, and start a process that posts, which nothing waits for."""
        dropped = self.spool.trim()
        if not os.path.exists(self.file):
            return
        problem = self.spool.problem
        if problem or dropped:
            lost = f"; the oldest {dropped} were dropped" if dropped else ""
            self._display.warning(
                f"Runs wait in {self.spool.folder}{lost}. The last attempt to post them: {problem or 'none'}"
            )
        log = f"{self.file.removesuffix('.json')}.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if os.path.exists(log) and os.stat(log).st_size > MAX_LOG_BYTES:
            flags |= os.O_TRUNC
        output = os.open(log, flags, 0o600)
        script = os.path.join(os.path.dirname(__file__), os.pardir, "plugin_utils", "records_post.py")
        try:
            subprocess.Popen(
                [sys.executable, os.path.normpath(script), "post-quietly", self.file],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=os.sep,
            )
        finally:
            os.close(output)

    def tell(self, event: str, **values: Any) -> None:
        """Add an event to the file."""
        if self.run is not None:
            self.run.add(event=event, **values)

    def label(self, kind: str, values: Iterable[object]) -> None:
        """Add labels, each once."""
        for name in self.labels.add(kind, values):
            self.tell("label", name=name)

    def label_deployments(self, names: Iterable[str]) -> None:
        """Add deployments, and the members whose they are."""
        chosen = list(names)
        self.label("deployment", chosen)
        self.label("member", [self.deployments[name].get("member") for name in chosen if name in self.deployments])

    def tell_file(self, path: str) -> None:
        """Add a file of the playbook's once, unless it is hidden."""
        if path in self.paths:
            return
        self.paths.add(path)
        content = None
        if not path.startswith(self.hidden) and not HIDDEN.search(path):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    content = file.read(MAX_CONTENT_BYTES + 1)
            except OSError as error:
                content = f"(not readable: {error})"
        self.tell("file", path=path, content=content)

    def tell_task(self, task: Any, handler: bool) -> None:
        """Add a task, and have it on the disk: it may be the one in which a run is killed."""
        path, _colon, line = (task.get_path() or "").rpartition(":")
        if path:
            self.tell_file(path)
        self.tell(
            "task",
            uuid=str(task._uuid)[:36],
            name=task.get_name(),
            action=task.action,
            path=path or "(no file)",
            lineno=int(line) if line.isdecimal() else 1,
            tags=list(task.tags),
            handler=handler,
            at=_now(),
        )
        if self.run is not None:
            self.run.flush()

    def tell_result(self, result: Any, status: str, ignore_errors: bool = False) -> None:
        """Add what a task did on a host."""
        name, task, ended = result.host.get_name(), result.task, _now()
        content = _shown(result.result)
        delegated = self.delegated.pop(name, None) or ([str(task.delegate_to)] if task.delegate_to else [])
        self.tell(
            "result",
            task=str(task._uuid)[:36],
            host=name,
            status=status,
            changed=bool(content.get("changed", False)),
            ignore_errors=ignore_errors,
            at=self.started.get(name, ended),
            ended=ended,
            delegated_to=[] if status == "skipped" else sorted(set(delegated)),
            content=content,
        )


def _counts(told: Mapping[str, int]) -> dict[str, int]:
    """What ARA counts of a host; it says failed where Ansible says failures."""
    return {**{name: told[name] for name in ("ok", "changed", "skipped", "unreachable")}, "failed": told["failures"]}
