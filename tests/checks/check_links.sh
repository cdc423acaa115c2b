#!/bin/sh
# athd, which parses what strangers send, is linked with no hardware library and no D-Bus, not even
# indirectly.
# Usage: check_links.sh SOURCE_DIR BUILD_DIR
set -eu
bin=$2/bin
forbidden='lib(tss2|p11|pkcs11|systemd|dbus)'
status=0

libraries() { # every shared library the loader would map, and what the program itself asks for
    ldd "$1"
    readelf -d "$1"
}

# the helper is the control: what is forbidden for athd is found where it is
if [ -x "$bin/ath-hsm-helper" ] && ! libraries "$bin/ath-hsm-helper" | grep -Eq "$forbidden"; then
    echo "ath-hsm-helper is linked with no TPM library: this check would see nothing"
    status=1
fi
if [ -x "$bin/ath-logind-watch" ] && ! libraries "$bin/ath-logind-watch" | grep -q libsystemd; then
    echo "ath-logind-watch is linked with no libsystemd: this check would see nothing"
    status=1
fi
for program in athd ath; do
    if [ ! -x "$bin/$program" ]; then
        continue
    fi
    if libraries "$bin/$program" | grep -E "$forbidden"; then
        echo "$program must not be linked with a hardware library or D-Bus"
        status=1
    fi
done
exit $status
