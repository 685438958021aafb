# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ARA's own API server over HTTPS, with a switch for faults: `python ara_server.py FOLDER`; it prints its port.

A file `fault` in the folder, `{"after": 3, "kind": "error"}`, makes each request after the third one fail.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

FOLDER = Path(sys.argv[1])
os.environ |= {
    "ARA_BASE_DIR": str(FOLDER),
    "ARA_SETTINGS": os.devnull,
    "ARA_SECRET_KEY": "of a test",
    "ARA_ALLOWED_HOSTS": '["records.nectar.test"]',
    "ARA_READ_LOGIN_REQUIRED": "true",
    "ARA_WRITE_LOGIN_REQUIRED": "true",
    "ARA_TIME_ZONE": "UTC",
    "ARA_LOG_LEVEL": "CRITICAL",
    "DJANGO_SETTINGS_MODULE": "ara.server.settings",
}


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


class Faulty:
    """The application, until it is told to fail."""

    def __init__(self, application) -> None:
        self.application = application
        self.served = 0

    def __call__(self, environ, start_response):
        if not (FOLDER / "fault").exists():
            self.served = 0
            return self.application(environ, start_response)
        fault = json.loads((FOLDER / "fault").read_text())
        self.served += 1
        if self.served <= fault["after"]:
            return self.application(environ, start_response)
        if fault["kind"] == "hang":
            threading.Event().wait(30)
        if fault["kind"] == "late":
            # It is done, and nobody hears of it.
            b"".join(self.application(environ, lambda *_arguments: None))
        status = {"error": "500 Oops", "refusal": "400 No"}.get(fault["kind"], "502 Away")
        start_response("200 OK" if fault["kind"] == "garbage" else status, [("Content-Type", "text/html")])
        return [b"<html>not what was asked for</html>"]


def main() -> None:
    import django
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.hashers import PBKDF2PasswordHasher
    from django.contrib.auth.models import User

    # As the lab's: stretching a random password adds nothing but time.
    PBKDF2PasswordHasher.iterations = 1000
    User.objects.create_superuser("records", password="hush")
    server = make_server("127.0.0.1", 0, Faulty(get_wsgi_application()), Server, Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "server.crt", FOLDER / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()


main()
