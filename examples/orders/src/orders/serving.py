"""How gunicorn serves it: `gunicorn --config python:orders.serving --bind ADDRESS:PORT orders.wsgi:app`.

One worker, loaded before the fork, shares its code with the master: nine of these live side by side on a server of
1 GB. Threads serve requests, for these wait for the database and hardly compute.
"""

from __future__ import annotations

import gc
import os
from typing import Any

worker_class = "gthread"
# A deployment that needs more sets WEB_CONCURRENCY, and pays for it in memory.
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = 4
preload_app = True
# Longer than a load balancer keeps an idle connection, so that only the balancer closes it.
keepalive = 75
# A worker that is silent for `timeout` seconds is replaced; one that is told to stop may finish for `graceful_timeout`.
timeout = 30
graceful_timeout = 20
# It would write into a home folder, which a service account doesn't have.
control_socket_disable = True


def pre_fork(_arbiter: Any, _worker: Any) -> None:
    """Keep what is loaded out of the garbage collector's hands, which would copy it into the worker."""
    gc.freeze()


def worker_exit(_arbiter: Any, _worker: Any) -> None:
    """Close the connections, so that the pooler sees them end."""
    from orders.wsgi import database

    database.close()
