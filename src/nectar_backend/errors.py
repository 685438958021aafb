# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one error whose text is for the person at the keyboard."""


class NectarError(Exception):
    """Says what was found and what to do; shown without a traceback."""
