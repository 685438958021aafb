# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters of PostgreSQL as pg_settings shows them, and the values that people write, in one unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SIZES = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
# Microseconds.
TIMES = {"us": 1, "ms": 1000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
NUMBER = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)\s*([A-Za-z]*)\s*")
# What PostgreSQL shows where people write another word for it.
SAME = {("wal_compression", "on"): "pglz"}
TRUTH = {
    **dict.fromkeys(("on", "true", "yes", "1"), "on"),
    **dict.fromkeys(("off", "false", "no", "0"), "off"),
}


class TuningError(Exception):
    """A plan or a value can't be."""


@dataclass(frozen=True)
class Parameter:
    """One line of pg_settings."""

    name: str
    setting: str
    unit: str = ""
    context: str = "user"
    type: str = "string"
    least: str = ""
    most: str = ""
    choices: tuple[str, ...] = ()

    @property
    def family(self) -> Mapping[str, int]:
        """The units that its values may be written in; none where it is a plain number."""
        if not self.unit:
            return {}
        return SIZES if self.unit.endswith("B") else TIMES

    @property
    def factor(self) -> int:
        """What its own unit is of the family's smallest; 8kB is a unit, too."""
        number, unit = re.fullmatch(r"([0-9]*)([A-Za-z]+)", self.unit or "1B").groups()  # type: ignore[union-attr]
        return int(number or 1) * (self.family or SIZES)[unit]

    @property
    def bytes(self) -> int:
        """Bytes of one of its units, 1 for what is no size."""
        return self.factor if self.family is SIZES else 1

    def canonical(self, value: Any) -> str:
        """The value as pg_settings writes it, in the parameter's own unit."""
        text = str(value).strip().strip("'")
        if self.type == "bool":
            if text.lower() not in TRUTH:
                raise TuningError(f"{self.name} is {value!r}, expected on or off")
            return TRUTH[text.lower()]
        if self.type == "enum":
            return self._chosen(text)
        if self.type in ("integer", "real"):
            return self._number(text)
        return str(value)

    def _chosen(self, text: str) -> str:
        lowered = text.lower()
        same = SAME.get((self.name, TRUTH.get(lowered, lowered)), "")
        if same in self.choices:
            return same
        known = {choice.lower(): choice for choice in self.choices}
        if lowered in known:
            return known[lowered]
        # YAML makes truth values of on and off, and some of these are choices beside others.
        if (spelled := TRUTH.get(lowered, "")) in self.choices:
            return spelled
        raise TuningError(f"{self.name} is {text!r}, expected one of {', '.join(self.choices)}")

    def _number(self, text: str) -> str:
        match = NUMBER.fullmatch(text)
        units = ", ".join(self.family)
        if match is None:
            raise TuningError(f"{self.name} is {text!r}, expected a number{f' with one of {units}' if units else ''}")
        number, unit = float(match[1]), match[2]
        if unit and unit not in self.family:
            raise TuningError(
                f"{self.name} is {text!r}, expected {f'one of the units {units}' if units else 'a number without a unit'}"
            )
        if unit:
            number = number * self.family[unit] / self.factor
        if self.type == "integer":
            number = round(number)
        if (self.least and number < float(self.least)) or (self.most and number > float(self.most)):
            raise TuningError(
                f"{self.name} is {text!r}, expected between {self.show(self.least)} and {self.show(self.most)}"
            )
        return f"{number:.15g}"

    def show(self, setting: str) -> str:
        """A value of the parameter's own unit as people write it, in the largest unit that leaves no fraction."""
        if not self.family or setting.startswith("-"):
            return setting
        amount = float(setting) * self.factor
        if amount == 0:
            return "0"
        for unit, size in reversed([*self.family.items()]):
            if amount % size == 0:
                return f"{amount / size:.15g}{unit}"
        return f"{setting}{self.unit}"


def read_parameters(entries: Any) -> dict[str, Parameter]:
    """Read what pg_settings said, as JSON."""
    return {
        entry["name"]: Parameter(
            entry["name"],
            entry["setting"] if entry["setting"] is not None else "",
            entry["unit"] or "",
            entry["context"],
            entry["type"],
            entry["least"] or "",
            entry["most"] or "",
            tuple(entry["choices"] or ()),
        )
        for entry in entries
    }
