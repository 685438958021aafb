# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The `nectar` command: it runs the project's playbooks and shows what they do."""
