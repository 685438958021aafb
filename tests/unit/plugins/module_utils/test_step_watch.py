# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a load balancer makes of a step: whose requests count, what others say, and when it has failed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nectar.backend.plugins.module_utils.access_log import Request
from ansible_collections.nectar.backend.plugins.module_utils.gate_http import Sample
from ansible_collections.nectar.backend.plugins.module_utils.gates import worst
from ansible_collections.nectar.backend.plugins.module_utils.step_watch import StepWatch

BEGAN = 1000.0


def watch(**changes: Any) -> StepWatch:
    """Return the watch of a step that gives green a tenth of app1's requests."""
    entry = {
        "name": "production",
        "slot": "green",
        "token": 7,
        "revision": "r2",
        "ports": {"blue": 10002, "green": 10003},
        "step": {"index": 0, "hosts": ["app1"], "share": 10, "bake": 30},
        "policy": {"http": {"samples": 2}, "compare": {}},
        **changes,
    }
    return StepWatch(entry, BEGAN)


def request(
    slot: str = "green", status: int = 200, host: str = "app1", name: str = "production", when: float = 1010.0
) -> Request:
    """Return a line of the access log."""
    return Request(when, name, host, slot, status, 5.0, 0, False, "--")


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        pytest.param(request(), (1, 0), id="the new slot"),
        pytest.param(request("blue"), (0, 1), id="the old slot beside it"),
        pytest.param(request("blue", host="app2"), (0, 0), id="a host that has no share"),
        pytest.param(request(name="staging"), (0, 0), id="another deployment"),
        pytest.param(request(when=BEGAN + 1), (0, 0), id="the warm-up"),
    ],
)
def test_whose_requests_count(line: Request, counted: tuple[int, int]) -> None:
    seen = watch()
    seen.see(line)
    arms = seen.watch.arms
    assert (arms["canary"].requests, arms["baseline"].requests) == counted


def test_errors_of_the_new_slot_fail_the_step() -> None:
    seen = watch()
    for _number in range(60):
        seen.see(request(status=500))
        seen.see(request("blue"))
    verdicts = seen.verdicts(final=False)
    assert worst(verdicts) == "fail"
    assert seen.state(verdicts)["verdict"] == "fail"
    assert "60 errors in 60 requests" in seen.state(verdicts)["reason"]


def test_shadow_reports_and_does_not_fail() -> None:
    seen = watch(policy={"compare": {}, "shadow": ["compare"]})
    for _number in range(60):
        seen.see(request(status=500))
        seen.see(request("blue"))
    (verdict,) = seen.verdicts(final=False)
    assert (verdict.verdict, verdict.shadow) == ("fail", True)
    assert seen.state([verdict])["verdict"] == "watching"


def test_a_foreign_revision_fails_the_step() -> None:
    seen = watch()
    seen.samples.append(Sample(200, 3.0, "r1", server="app1-green"))
    assert worst(seen.verdicts(final=False)) == "fail"


def test_enough_answers_and_no_difference_pass_at_the_end() -> None:
    seen = watch()
    seen.samples += [Sample(200, 3.0, "r2")] * 2
    assert worst(seen.verdicts(final=False)) == "hold"
    verdicts = seen.verdicts(final=True)
    assert worst(verdicts) == "pass"
    assert seen.state(verdicts, final=True)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        pytest.param(
            {"token": 7, "step": 0, "verdict": "fail", "reason": "errors", "gate": "http"}, "fail", id="this step"
        ),
        pytest.param({"token": 6, "step": 0, "verdict": "fail"}, "hold", id="an earlier rollout"),
        pytest.param({"token": 7, "step": 1, "verdict": "fail"}, "hold", id="another step"),
        pytest.param({"token": 7, "step": 0, "verdict": "watching"}, "hold", id="nothing yet"),
    ],
)
def test_what_another_load_balancer_says(state: dict[str, Any], verdict: str) -> None:
    seen = watch()
    seen.hear({"lb2": state})
    verdicts = seen.verdicts(final=False)
    assert worst(verdicts) == verdict
    assert verdict != "fail" or (verdicts[0].reason, verdicts[0].gate) == ("lb2: errors", "http")


def test_counts_of_others_are_summed_up() -> None:
    seen, other = watch(), watch()
    for _number in range(60):
        other.see(request(status=500))
        other.see(request("blue"))
    other_state = {**other.state([]), "verdict": "watching"}
    seen.hear({"lb2": other_state})
    assert worst(seen.verdicts(final=False)) == "fail"


def test_failed_attempts_are_charged_from_counters() -> None:
    seen = watch()
    zero = {"wretr": 0, "wredis": 0}
    seen.count({100: {"app1-green": {"wretr": 5, "wredis": 0}}}, BEGAN + 1)
    seen.count({100: {"app1-green": {"wretr": 5, "wredis": 0}}}, BEGAN + 5)
    seen.count({100: {"app1-green": {"wretr": 5, "wredis": 3}}, 101: {"app1-green": zero}}, BEGAN + 6)
    seen.count({101: {"app1-green": {"wretr": 0, "wredis": 1}}}, BEGAN + 7)
    assert seen.watch.arms["canary"].redispatches == 4
    seen.count({101: {"app1-green": zero}}, BEGAN + 8)
    assert seen.watch.arms["canary"].reset


def test_what_is_due_of_our_own_requests() -> None:
    seen = watch(synthetic={"requests": 20, "seconds": 10})
    assert [seen.synthetic_due(BEGAN + seconds) for seconds in (1, 3, 8, 60)] == [0, 0, 10, 20]
    assert [seen.samples_due(BEGAN + seconds) for seconds in (0, 8, 15, 60)] == [0, 1, 2, 2]
    assert watch(step={"index": 0, "hosts": ["app1"], "share": 10, "bake": 0}).samples_due(BEGAN) == 2


def test_a_step_that_somebody_ended_has_failed() -> None:
    seen = watch()
    seen.withdraw("no heartbeat")
    assert worst(seen.verdicts(final=False)) == "fail"


def test_a_slot_that_stays_down_has_failed() -> None:
    seen = watch(policy={"compare": {}})
    for down in ({"app1-green"}, {"app1-green"}, {"app2-green", "app1-blue"}, {"app1-green"}, {"app1-green"}):
        seen.check_down(down)
    assert worst(seen.verdicts(final=False)) == "hold"
    seen.check_down({"app1-green"})
    verdicts = seen.verdicts(final=False)
    assert (worst(verdicts), verdicts[0].reason) == ("fail", "health checks find app1-green down")
