# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets `python -m nectar_backend` be the `nectar` command."""

import sys

from nectar_backend.cli import main

sys.exit(main())
