# shellcheck shell=bash
# Sourced by what runs many things one after another.

# Run the first command behind the second, for each takes one core most of the time. What the first says is shown once it has ended.
beside() {
  local log group failed=0
  log=$(mktemp)
  # In a process group of its own it can be ended with all that it started.
  set -m
  {
    renice -n 10 "$BASHPID" > /dev/null
    "$1" < /dev/null > "$log" 2>&1 || failed=$?
    printf '\n-- %s ended\n' "$1"
    cat "$log"
    exit "$failed"
  } &
  group=$!
  set +m
  # shellcheck disable=SC2064  # what they are now
  trap "kill -- -$group 2> /dev/null || true; rm -f '$log'" EXIT
  "${@:2}" || failed=$?
  wait "$group" || { printf '\nfailed: %s\n' "$1" >&2; failed=1; }
  rm -f "$log"
  trap - EXIT
  return "$failed"
}
