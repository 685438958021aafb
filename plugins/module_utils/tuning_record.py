# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is kept of each tuning: what was tried, what came of it, and what an interrupted one must give back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import TuningError

# Measured and not applied; applied and not yet judged; judged.
MEASURED, APPLYING, KEPT, REVERTED = "measured", "applying", "kept", "reverted"


@dataclass(frozen=True)
class Record:
    """One tuning: who did it, the change, what Patroni and PostgreSQL had before, and the evidence."""

    began: str
    person: str
    kind: str
    state: str
    change: Mapping[str, str] = field(default_factory=dict)
    restarting: Sequence[str] = ()
    # Of Patroni's configuration; null where it named none.
    before: Mapping[str, Any] = field(default_factory=dict)
    # Of pg_settings.
    settings: Mapping[str, str] = field(default_factory=dict)
    reasons: Sequence[str] = ()
    trials: Sequence[Mapping[str, Any]] = ()
    watched: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @property
    def name(self) -> str:
        """The name of its file, in order of time."""
        return f"{re.sub(r'[^0-9TZ]', '', self.began)}.json"


def read_record(data: Any, path: str) -> Record:
    """Read what was kept."""
    try:
        return Record(**data)
    except TypeError as error:
        raise TuningError(
            f"{path} can't be read: {error}; look at it, and remove it when Patroni's settings are as they should be"
        ) from error


def parameters_before(config: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """What Patroni's configuration says of the parameters now; null takes a key away again."""
    current = (config.get("postgresql") or {}).get("parameters") or {}
    return {name: current.get(name) for name in change}


def patch(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What Patroni is sent."""
    return {"postgresql": {"parameters": dict(parameters)}}


def says(record: Record) -> str:
    """One line for a person."""
    named = ", ".join(f"{name}={value}" for name, value in sorted(record.change.items())) or "nothing"
    return f"{record.state}: {named}" + (f": {'; '.join(record.reasons)}" if record.reasons else "")
