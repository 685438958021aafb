# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files by which a step's watch, its heartbeat and the other load balancers' watches meet on a load balancer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.text_files import read_text

# Seconds without a heartbeat after which a step has no controller any more.
SILENCE = 20.0


@dataclass(frozen=True)
class Relay:
    """A deployment's files below /run, which a reboot empties."""

    run: str
    deployment: str

    def path(self, kind: str) -> str:
        """Return the file of a kind: beat, own.json or peers.json."""
        return os.path.join(self.run, "rollouts", f"{self.deployment}.{kind}")

    def beat(self) -> None:
        """Say that the controller lives."""
        self._write("beat", f"{time.monotonic():.3f}\n")

    def silence(self) -> float | None:
        """Return the seconds since the last heartbeat; nothing where there was none since the last boot."""
        text = read_text(self.path("beat"))
        try:
            return time.monotonic() - float(text) if text else None
        except ValueError:
            return None

    def say(self, state: Mapping[str, Any]) -> None:
        """Tell the other load balancers what was found here."""
        self._write("own.json", json.dumps(state))

    def own(self) -> dict[str, Any] | None:
        """Return what was found here."""
        return self._read("own.json")

    def hear(self, peer: str, state: Mapping[str, Any]) -> None:
        """Keep what another load balancer found."""
        self._write("peers.json", json.dumps({**self.peers(), peer: state}))

    def peers(self) -> dict[str, Any]:
        """Return what the other load balancers found."""
        return self._read("peers.json") or {}

    def _read(self, kind: str) -> dict[str, Any] | None:
        try:
            found = json.loads(read_text(self.path(kind)) or "null")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _write(self, kind: str, text: str) -> None:
        path = self.path(kind)
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        # Nothing here outlives a reboot, so nothing is synced; a reader sees whole files all the same.
        draft = f"{path}.{os.getpid()}.draft"
        with open(draft, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(draft, path)


def judge_silence(silence: float | None) -> str:
    """Say why a step must be withdrawn, or nothing."""
    if silence is None:
        return "no heartbeat of its controller since this load balancer started"
    return f"no heartbeat of its controller for {silence:.0f} s" if silence > SILENCE else ""
