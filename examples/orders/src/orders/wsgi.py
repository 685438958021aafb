"""The application that a WSGI server loads: settings from the environment, connections at first use."""

from __future__ import annotations

import os

from orders.app import create_app
from orders.database import Database
from orders.settings import read_settings

settings = read_settings(os.environ)
database = Database(settings)
app = create_app(settings, database)
