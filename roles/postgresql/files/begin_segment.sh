#!/bin/sh
# Patroni runs this when the role of its member changes, with the event, the role and the cluster's name.
#
# Each timeline has its own copy of the segment of the log in which it begins, and PostgreSQL keeps segments by their number: a cluster
# that writes little and moves its lead often would fill the disk with copies of one number. So each new primary begins another.
set -eu
# `master` is what Patroni 3 says.
case "${2-}" in primary | master) ;; *) exit 0 ;; esac
# What is left of the old segment goes to every standby, and commits wait behind it: first those that have waited for a primary.
sleep 15
attempts=60
# Patroni calls before the member takes orders, and a busy one may take them late.
until psql -X -q -h /var/run/postgresql -d postgres -c 'SELECT pg_switch_wal()' >/dev/null 2>&1; do
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || { echo "no new segment of the log could be begun" >&2; exit 1; }
  sleep 0.5
done
