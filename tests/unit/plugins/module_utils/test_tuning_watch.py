# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.nectar.backend.plugins.module_utils import tuning_record, tuning_watch
from ansible_collections.nectar.backend.plugins.module_utils.tuning_values import TuningError
from ansible_collections.nectar.backend.plugins.module_utils.tuning_watch import Sample, Watched


def watched(
    transactions: float = 1000, rollbacks: float = 10, wal: float = 1e6, calls: float = 1000, each: float = 2.0
) -> Watched:
    return Watched(30, transactions, rollbacks, wal, 0, 0, {"q": (calls, calls * each)})


@pytest.mark.parametrize(
    ("after", "told"),
    [
        pytest.param(watched(), (), id="alike"),
        pytest.param(
            watched(transactions=1000, rollbacks=200), ("20% of the transactions were rolled back",), id="rolled back"
        ),
        pytest.param(watched(wal=4e6), ("a transaction wrote 4000 bytes of log",), id="more log"),
        pytest.param(watched(each=4.0), ("took 2.00 times as long",), id="slower statements"),
        pytest.param(watched(transactions=50, rollbacks=50, wal=4e6, calls=50, each=40.0), (), id="too few to tell"),
        pytest.param(watched(each=1.0, wal=1e5), (), id="better"),
    ],
)
def test_harms(after: Watched, told: tuple[str, ...]) -> None:
    found = tuning_watch.harms(watched(), after)
    assert len(found) == len(told)
    assert all(part in line for part, line in zip(told, found, strict=True))


def test_a_statement_that_ran_in_one_while_only_is_no_comparison() -> None:
    after = Watched(30, 1000, 0, 1e6, 0, 0, {"other": (5000, 1e6)})
    assert tuning_watch.slowdown(watched(), after) is None


def test_between_counts_what_grew_and_begins_anew_after_a_reset() -> None:
    before = Sample(10.0, {"commits": 100, "rollbacks": 50, "wal": 1000}, {"a": (10, 5.0), "b": (3, 1.0)})
    after = Sample(40.0, {"commits": 160, "rollbacks": 5, "wal": 3000}, {"a": (15, 9.0), "b": (3, 1.0), "c": (2, 1.0)})
    found = tuning_watch.between(before, after)
    assert (found.seconds, found.transactions, found.rollbacks, found.wal) == (30.0, 65, 5, 2000)
    assert found.statements == {"a": (5, 4.0), "c": (2, 1.0)}


def test_what_was_before_is_known_by_null_where_nothing_was() -> None:
    config = {"postgresql": {"parameters": {"jit": "off"}}}
    assert tuning_record.parameters_before(config, {"jit": "on", "work_mem": "8MB"}) == {"jit": "off", "work_mem": None}
    assert tuning_record.parameters_before({}, {"jit": "on"}) == {"jit": None}


def test_a_record_survives_its_file() -> None:
    record = tuning_record.Record(
        "2026-11-29T22:05:01Z", "alice", "oltp", "applying", {"jit": "on"}, ["jit"], {"jit": None}
    )
    assert tuning_record.read_record(record.to_data(), "open.json") == record
    assert record.name == "20261129T220501Z.json"
    with pytest.raises(TuningError, match=r"open\.json can't be read"):
        tuning_record.read_record({"person": "alice"}, "open.json")
