#!/usr/bin/env bash
# Every event that athd writes to its audit log is in docs/audit-events.md, and the other way round.
# Names are looked for where records are begun: in the calls of these functions.
set -u
cd "$1" || exit 2
table=docs/audit-events.md
begun='(audit_record_begin|audit_flood_admits|begin|record_[a-z]+|session_record|hsm_record_helper|key_event_record)'
written=$(cat src/athd/*.c | sed 's@/\*.*\*/@@' | tr '\n' ' ' |
    grep -oE "\b$begun\([^;{]*;" | grep -oE '"[a-z]+(_[a-z]+)*"' | tr -d '"' | sort -u)
held=$(cat src/athd/*.c | tr '\n' ' ' | grep -oE 'const char \*event = [^;]*;' |
    grep -oE '"[a-z]+(_[a-z]+)*"' | tr -d '"')
listed=$(sed -n '/^## Signatures/,$p' "$table" | grep '^| `' | cut -d'|' -f2 | grep -oE '[a-z_]+' |
    sort -u)
status=0
for name in $written $held; do
    if ! grep -qx "$name" <<<"$listed"; then
        echo "$table does not list the event $name"
        status=1
    fi
done
for name in $listed; do
    if ! grep -qx "$name" <<<"$written"$'\n'"$held"; then
        echo "$table lists $name, which athd does not write"
        status=1
    fi
done
# a check that finds nothing has not looked
[ "$(wc -w <<<"$listed")" -ge 40 ] || { echo "$table: where are the events?"; status=1; }
exit $status
