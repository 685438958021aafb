# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real runs of ansible-playbook on this machine alone."""

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from nectar_backend.progress import Progress
from nectar_backend.runs import KEPT_LOGS, Job, Outcome, name_log, open_log, run_job

PLAYBOOK = """
- name: Try it
  hosts: all
  gather_facts: false
  tasks:
    - name: Say who is asked for
      ansible.builtin.debug:
        msg: "asked for {{ deployment }}"
      changed_when: true
      notify: Answer
    - name: Keep a secret
      ansible.builtin.debug:
        msg: a-secret-word
      no_log: true
    - name: Wait
      ansible.builtin.wait_for:
        timeout: "{{ seconds | int }}"
    - name: Refuse
      ansible.builtin.assert:
        that: deployment != 'unknown'
        fail_msg: there is no such deployment
  handlers:
    - name: Answer
      ansible.builtin.debug:
        msg: here
"""


class Recorder:
    """Remembers what it was shown, and interrupts the run at a task if asked to."""

    def __init__(self, interrupt_at: str = "") -> None:
        self.tasks: list[str] = []
        self._interrupt_at = interrupt_at

    def begin(self, job: Job) -> None: ...

    def update(self, progress: Progress) -> None:
        if progress.task and progress.task not in self.tasks:
            self.tasks.append(progress.task)
            if progress.task == self._interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)

    def end(self, outcome: Outcome) -> None: ...


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ansible.cfg").write_text("[defaults]\nlocalhost_warning = false\n")
    (tmp_path / "hosts.ini").write_text(
        "here ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
    )
    (tmp_path / "try.yml").write_text(PLAYBOOK)
    return tmp_path


def run(root: Path, recorder: Recorder, deployment: str = "alice", seconds: int = 0) -> Outcome:
    job = Job("try.yml", ["hosts.ini"], {"deployment": deployment, "seconds": str(seconds)})
    return run_job(job, root, root / "logs" / "try.log", recorder)


def test_a_run_that_goes_well(root: Path) -> None:
    recorder = Recorder()
    outcome = run(root, recorder)
    assert outcome.ok
    assert recorder.tasks == ["Say who is asked for", "Keep a secret", "Wait", "Refuse", "Answer"]
    assert (outcome.progress.executions, outcome.progress.changed) == (5, 1)


def test_the_log_is_whole_private_and_without_secrets(root: Path) -> None:
    log = run(root, Recorder()).log
    assert "asked for alice" in log.read_text()
    assert "PLAY RECAP" in log.read_text()
    assert "a-secret-word" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_run_that_fails(root: Path) -> None:
    outcome = run(root, Recorder(), deployment="unknown")
    assert not outcome.ok
    [failure] = outcome.progress.failures
    assert (failure.task, failure.hosts, failure.message) == ("Refuse", ("here",), "there is no such deployment")
    assert failure.place.startswith("try.yml:")


def test_an_interrupted_run_ends_soon(root: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    outcome = run(root, Recorder(interrupt_at="Wait"), seconds=300)
    assert (outcome.ok, outcome.interrupted) == (False, True)
    assert outcome.seconds < 60
    assert signal.getsignal(signal.SIGINT) is before


def test_logs_are_named_by_time_playbook_and_deployment() -> None:
    job = Job("playbooks/lab/create.yml", [], {"deployment": "alice"})
    assert name_log(Path("/logs"), job, time.gmtime(0)) == Path("/logs/19700101-000000-lab-create-alice.log")


def test_old_logs_go(tmp_path: Path) -> None:
    for number in range(KEPT_LOGS + 5):
        open_log(tmp_path / f"{number:03}.log").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{number:03}.log" for number in range(5, KEPT_LOGS + 5)
    ]
