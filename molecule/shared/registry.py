# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's registry, as somebody edits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lab import REGISTRY, ROOT


class Registry:
    """A copy of the lab's registry that may be edited, with the lab's own variables beside it."""

    def __init__(self, folder: Path) -> None:
        (folder / "group_vars").symlink_to(REGISTRY.parent / "group_vars")
        self.path = folder / "members.yml"
        # Paths start at the registry's folder, which is another one here.
        self.data: dict[str, Any] = yaml.safe_load(REGISTRY.read_text().replace("../../", f"{ROOT}/"))
        self.data.setdefault("retired", {})
        self.save()

    def save(self) -> None:
        self.path.write_text(yaml.safe_dump(self.data, sort_keys=False))

    def retire(self, name: str) -> None:
        """Move a member's line to `retired`, as a person does."""
        self.data["retired"][name] = self.data["members"].pop(name)
        self.save()

    def add(self, name: str) -> None:
        """Add a member with a number that nobody has."""
        taken = [entry["number"] for entry in self.data["members"].values()]
        self.data["members"][name] = {"number": max(taken) + 1}
        self.save()
