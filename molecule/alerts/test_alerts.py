# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application that nobody here wrote: its pages, files and jobs through the load balancer, and a release that moves it all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from requests.adapters import HTTPAdapter

testinfra_hosts = ["ansible://app_servers"]

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "nectar" / os.environ["NECTAR_LAB"]
REGISTRY = "examples/alerts/registry.yml"
NAME = "alerts.nectar.test"
JOBS = "/admin/django_tasks_database/dbtaskresult/"
LINES = 20


class ByName(HTTPAdapter):
    """Connections to an address that must prove the deployment's name."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, server_hostname=NAME, assert_hostname=NAME, **options)


class Browser:
    """What a person's browser does: it keeps cookies, and sends back the token of the last form."""

    def __init__(self, address: str) -> None:
        self.base = f"https://{address}"
        self.session = requests.Session()
        self.session.trust_env = False  # or REQUESTS_CA_BUNDLE would be believed instead
        self.session.verify = str(STATE / "ca/ca.crt")
        self.session.headers.update({"Host": NAME, "Referer": f"https://{NAME}/"})
        self.session.mount("https://", ByName())

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.base + path, timeout=20)

    def submit(self, path: str, **fields: str) -> str:
        """Fill in a form and return the page that follows."""
        self.get(path)
        token = {"csrfmiddlewaretoken": self.session.cookies["csrftoken"]}
        page = self.session.post(self.base + path, data={**fields, **token}, timeout=20)
        assert page.ok, page.text
        assert "errorlist" not in page.text, page.text
        return page.text

    def call(self, path: str, data: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Make something through the API."""
        token = {"X-CSRFToken": self.session.cookies.get("csrftoken", "")}
        answer = self.session.post(self.base + path, json=data, headers={**token, **headers}, timeout=20)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def jobs(self) -> list[str]:
        """Return the state of each job, the newest first."""
        return re.findall(r'class="field-status">([A-Za-z]+)', self.get(JOBS).text)


def eventually(check: Callable[[], bool], seconds: float) -> bool:
    """Say whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < deadline:
        threading.Event().wait(0.5)
    return found


@pytest.fixture
def address(host: Any) -> str:
    """Return where the controller reaches the host."""
    shown: str = host.check_output("ip -brief -4 address show scope global up")
    return shown.split()[2].split("/")[0]


@pytest.fixture
def browser(address: str) -> Browser:
    """Return a browser that was logged in with the password that was made for the deployment."""
    secrets = yaml.safe_load((STATE / "secrets.yml").read_text(encoding="utf-8"))
    browser = Browser(address)
    browser.submit("/admin/login/", username="admin", password=secrets["deployments"]["alerts"]["admin_password"])
    return browser


def report_an_incident(browser: Browser) -> None:
    """Report, as a monitoring system does, what makes the web process put a job into the queue."""
    name = f"watcher-{time.time_ns()}"
    browser.call("/api/v2/incidents/source-types/", {"name": name})
    source = browser.call("/api/v2/incidents/sources/", {"name": name, "type": name, "user": 1})
    browser.submit("/admin/authtoken/tokenproxy/add/", user=str(source["user"]))
    token = re.findall(r"\b[0-9a-f]{40}\b", browser.get(f"/admin/authtoken/tokenproxy/?q={name}").text)[0]
    watcher = Browser(browser.base.removeprefix("https://"))
    incident = {"start_time": "2026-01-01T00:00:00Z", "source_incident_id": "1", "description": "a fan stands still"}
    watcher.call("/api/v2/incidents/", {**incident, "tags": [{"tag": "host=a"}]}, Authorization=f"Token {token}")


def active_slot(host: Any) -> str:
    with host.sudo():
        record = json.loads(host.file("/var/lib/nectar/deployments/alerts/record.json").content_string)
    return str(record["active"])


def runs(host: Any, slot: str, process: str) -> bool:
    return bool(host.service(f"nectar-alerts-{slot}-{process}").is_running)


def released(**settings: int) -> str:
    """Release the deployment with other settings, as a person would."""
    sources = ["inventories/lab/single", "inventories/lab/members.yml", REGISTRY]
    command = ["ansible-playbook", "playbooks/deploy.yml", "-e", "deployment=alerts", "-e", json.dumps(settings)]
    done = subprocess.run(
        [*command, *(f"--inventory={source}" for source in sources)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_registry_is_twenty_lines_at_most() -> None:
    lines = (ROOT / REGISTRY).read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip() and not line.strip().startswith("#")]) <= LINES


def test_a_page_answers(address: str) -> None:
    page = Browser(address).get("/accounts/login/")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Argus" in page.text


@pytest.mark.parametrize(
    ("path", "kind"), [("/static/styles.css", "text/css"), ("/static/logo_white.svg", "image/svg+xml")]
)
def test_a_static_file_answers_with_its_type(address: str, path: str, kind: str) -> None:
    answer = Browser(address).get(path)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, kind)


def test_the_worker_does_what_the_web_process_enqueues(browser: Browser, host: Any) -> None:
    assert runs(host, active_slot(host), "notify")
    before = len(browser.jobs())
    report_an_incident(browser)
    assert eventually(lambda: len(browser.jobs()) > before and set(browser.jobs()) == {"Successful"}, 90), (
        browser.jobs()
    )


def test_a_release_moves_the_worker_to_the_other_slot(browser: Browser, host: Any) -> None:
    former = active_slot(host)
    with host.sudo():
        unit = host.file(f"/etc/systemd/system/nectar-alerts-{former}-notify.service").content_string
    released(rollout_stop_timeout=31 if "TimeoutStopSec=30\n" in unit else 30)
    assert active_slot(host) != former
    assert (runs(host, former, "notify"), runs(host, former, "web")) == (False, False)
    test_the_worker_does_what_the_web_process_enqueues(browser, host)
