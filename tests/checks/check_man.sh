#!/bin/sh
# The man pages are true: every public function has one, every command and option of `ath` stands in
# ath(1), every flag of athd in athd(8), and every page is well-formed where groff is there to say so.
# Usage: check_man.sh SOURCE_DIR BUILD_DIR
set -eu
source=$1 build=$2
man=$source/docs/man
status=0

complain() {
    echo "$*"
    status=1
}

for name in $(grep -ohE '\bath_[a-z0-9_]+\(' "$source"/include/ath/*.h | tr -d '(' | sort -u); do
    grep -qE "^\.Nm $name( |\$)" "$man"/*.3 || complain "$name is in no man page's NAME"
    grep -qE "^\.Fn $name( |\$)" "$man"/*.3 || complain "$name has no prototype in a man page"
done
for name in $(grep -hE '^\.Nm ath_' "$man"/*.3 | awk '{print $2}' | sort -u); do
    grep -qE "\b$name\(" "$source"/include/ath/*.h || complain "$name has a man page, but is no function"
done

# ath(1) without its macros, so that flags read as they are typed
plain=$(sed 's/Fl -/--/g; s/Fl \([a-z]\)/-\1/g' "$man/ath.1")
"$build/bin/ath" --help | sed -n '/^commands:/,/^$/{s/^  \([a-z ]*[a-z]\)  .*/\1/p}' |
    while read -r command; do
        echo "$plain" | grep -qE "Cm $command( |\$)" || echo "ath $command is not in ath(1)"
        "$build/bin/ath" $command --help | grep -oE '^  --[a-z0-9-]+' | while read -r flag; do
            echo "$plain" | grep -qE -- "(^|[^a-z])$flag( |\$)" || echo "$flag of ath $command is not in ath(1)"
        done
    done >"$build/check_man.out"
[ ! -s "$build/check_man.out" ] || { cat "$build/check_man.out"; status=1; }

if [ -x "$build/bin/athd" ]; then
    plain=$(sed 's/Fl -/--/g' "$man/athd.8")
    for flag in $("$build/bin/athd" --help | grep -oE -- '--[a-z0-9-]+' | sort -u); do
        [ "$flag" = --help ] || echo "$plain" | grep -qE -- "$flag( |\$)" || complain "$flag is not in athd(8)"
    done
fi

if command -v groff >/dev/null; then
    for page in "$man"/*; do
        warnings=$(groff -mandoc -ww -Tutf8 "$page" 2>&1 >/dev/null)
        [ -z "$warnings" ] || complain "$warnings"
    done
fi
exit $status
