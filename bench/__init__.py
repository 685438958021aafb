# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is measured against what: `make bench` (docs/bench.md)."""

import sys
from pathlib import Path

# Some targets measure the collection's own rules, under the name that Ansible imports them by.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".ansible/collections"))
