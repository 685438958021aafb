# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Send runs to the environment's records, whatever happens to them on the way."""

from __future__ import annotations

DOCUMENTATION = r"""
name: records
type: notification
short_description: Records runs in the environment's ARA server
version_added: "0.1.0"
author: Nectar Backend maintainers (@nectar)
description:
  - Hands every event to ARA's own callback, which records it over HTTPS.
  - Connects to a known address and verifies the certificate for the server's name, so that no name must resolve.
  - Does nothing where no file says where the records are. When they can't be reached, or are lost on the way, it warns once, and the run goes on unrecorded.
requirements:
  - ara
options:
  file:
    description:
      - The file that says where the records are, in JSON; readable by its owner alone, for it holds a password.
      - It holds C(url), the C(address) to connect to, C(ca_file), C(username) and C(password).
      - If not set, C(records.json) in the state folder, C(${XDG_STATE_HOME:-~/.local/state}/nectar/${NECTAR_LAB:-lab}).
    type: path
    env:
      - name: NECTAR_RECORDS_FILE
    ini:
      - section: callback_records
        key: file
"""

import atexit
import contextlib
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.nectar.backend.plugins.plugin_utils.records import make_recorder, parse_records, records_file

# What ARA's callback raises when the server is away, or answers like something else.
RECORDING_ERRORS = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def _forwarded(event: str) -> Callable[..., None]:
    def forward(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        self.tell(event, *args, **kwargs)

    return forward


class CallbackModule(CallbackBase):
    """Keeps ARA's callback at arm's length: nothing that it meets may disturb a run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "nectar.backend.records"
    CALLBACK_NEEDS_ENABLED = True

    path = ""
    # ARA's callback while it records, and once it has begun a record that it has not ended.
    recorder: Any = None
    begun: Any = None
    adapter: Any = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Find the records, and begin one."""
        self.path = records_file(self.get_option("file"), os.environ, os.path.expanduser("~"))
        # ARA logs what it could not send, with all that it holds.
        logging.getLogger("ara").setLevel(logging.CRITICAL)
        hidden = [os.path.dirname(self.path) + os.sep, r"regex:/(vault|secrets)\.ya?ml$"]
        try:
            with open(self.path, encoding="utf-8") as file:
                self.recorder, self.adapter = make_recorder(parse_records(file.read()), hidden)
        except FileNotFoundError:
            return
        except RECORDING_ERRORS as error:
            self.give_up(str(error))
        self.tell("v2_playbook_on_start", playbook)
        self.begun = self.recorder
        atexit.register(self.end_unfinished)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End the record."""
        self.tell("v2_playbook_on_stats", stats)
        if self.recorder is not None:
            self.begun = None

    v2_playbook_on_play_start = _forwarded("v2_playbook_on_play_start")
    v2_playbook_on_task_start = _forwarded("v2_playbook_on_task_start")
    v2_playbook_on_handler_task_start = _forwarded("v2_playbook_on_handler_task_start")
    v2_runner_on_start = _forwarded("v2_runner_on_start")
    v2_runner_on_ok = _forwarded("v2_runner_on_ok")
    v2_runner_on_failed = _forwarded("v2_runner_on_failed")
    v2_runner_on_skipped = _forwarded("v2_runner_on_skipped")
    v2_runner_on_unreachable = _forwarded("v2_runner_on_unreachable")
    v2_runner_item_on_ok = _forwarded("v2_runner_item_on_ok")
    v2_runner_item_on_failed = _forwarded("v2_runner_item_on_failed")

    def tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Hand an event to ARA's callback, for as long as the records can be reached."""
        if self.recorder is None:
            return
        try:
            getattr(self.recorder, event)(*args, **kwargs)
        except RECORDING_ERRORS as error:
            self.give_up(self.adapter.failure or f"{event}: {error!r}")
        # What fails in one of ARA's threads is told by nobody else.
        if self.recorder is not None and self.adapter.failure:
            self.give_up(self.adapter.failure)

    def give_up(self, reason: str) -> None:
        """Say once why, and let the run go on."""
        self.recorder = None
        remedy = f"Correct {self.path}, or take it away to run without records."
        self._display.warning(f"From here on this run is not recorded. {reason}. {remedy}")

    def end_unfinished(self) -> None:
        """Leave no record that seems to be running, after an interruption or a loss; the server may be back."""
        if self.begun is not None:
            self.adapter.failure = ""
            with contextlib.suppress(*RECORDING_ERRORS):
                path = f"/api/v1/playbooks/{self.begun.playbook['id']}"
                self.begun.client.patch(path, status="expired", ended=datetime.now(UTC).isoformat())
