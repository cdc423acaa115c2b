#!/bin/sh
# What is installed works where it lies: the programs start, systemd understands its units, and a program of somebody else's compiles
# against libath by pkg-config, shared and static, in C99 and C++, and sees nothing but the public names.
# Usage: check_install.sh SOURCE_DIR BUILD_DIR
set -eu
build=$2
# not in a TMPDIR however deep: sockets are made below it, whose paths have 107 characters at most (unix(7))
root=$(mktemp -d /tmp/ath-install.XXXXXX)
trap 'rm -rf "$root"' EXIT

DESTDIR=$root cmake --install "$build" >"$root/log" || { cat "$root/log"; exit 1; }
pc=$(find "$root" -name libath.pc)
prefix=$(sed -n 's/^prefix=//p' "$pc")
lib=$(dirname "$(dirname "$pc")")

for program in ath athd; do
    "$root$prefix/bin/$program" --version | grep -q "^$program [0-9]" || {
        echo "$program --version does not say its version"
        exit 1
    }
done
[ -x "$root$prefix/libexec/ath/ath-hsm-helper" ] || { echo "the helper is not installed"; exit 1; }

# systemd-analyze warns of what it does not know, and says nothing where all is well
for manager in user system; do
    units=$root/units-$manager
    mkdir "$units"
    cp "$root$prefix/lib/systemd/$manager"/athd.* "$units"
    grep -q "^ExecStart=$prefix/bin/athd" "$units/athd.service" || {
        echo "the $manager's athd.service starts another athd than the one installed"
        exit 1
    }
    sed -i "s|^ExecStart=|&$root|" "$units/athd.service"
    command -v systemd-analyze >/dev/null || continue
    XDG_RUNTIME_DIR=$root systemd-analyze "--$manager" verify --man=no "$units/athd.service" \
        "$units/athd.socket" >"$root/said" 2>&1 && [ ! -s "$root/said" ] || {
        cat "$root/said"
        exit 1
    }
done

unit=$root$prefix/lib/systemd/user/ath-consent.service
grep -q "^ExecStart=$prefix/bin/ath " "$unit" || { echo "ath-consent.service starts another ath"; exit 1; }
if command -v systemd-analyze >/dev/null; then
    sed -i "s|^ExecStart=|&$root|" "$unit"
    XDG_RUNTIME_DIR=$root systemd-analyze --user verify --man=no "$unit" >"$root/said" 2>&1 &&
        [ ! -s "$root/said" ] || { cat "$root/said"; exit 1; }
fi

cat >"$root/user.c" <<'TXT'
#include <ath/client.h>
#include <ath/version.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
    struct ath_client *client = ath_client_new();
    ath_err err = ath_client_connect(client, "/nonexistent/agent.sock");
    int good = err == ATH_ERR_UNREACHABLE && strstr(ath_client_error_message(client), "not running");
    ath_client_free(client);
    printf("%s\n", ATH_VERSION);
    return good ? 0 : 1;
}
TXT
cp "$root/user.c" "$root/user.cc"
# a library built with sanitizers wants a program built with them
sanitize=$(sed -n 's/^ATH_SANITIZE:.*=\(..*\)$/-fsanitize=\1/p' "$build/CMakeCache.txt")
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$lib/pkgconfig:$(pkg-config --variable pc_path pkg-config)
flags=$(pkg-config --define-variable=prefix="$prefix" --cflags --libs libath)

# shellcheck disable=SC2086 # the flags are words
{
    cc -std=c99 -pedantic -Werror -Wall $sanitize "$root/user.c" -o "$root/shared" $flags
    c++ -std=c++11 -Werror -Wall $sanitize "$root/user.cc" -o "$root/plus" $flags
    cc -std=c99 $sanitize -I"$root$prefix/include" "$root/user.c" -o "$root/static" "$lib/libath.a" \
        -lcjson -lm
}
LD_LIBRARY_PATH=$lib "$root/shared"
LD_LIBRARY_PATH=$lib "$root/plus"
"$root/static"

# the library shows exactly what the headers declare
grep -ohE '\bath_[a-z0-9_]+\(' "$root$prefix"/include/ath/*.h | tr -d '(' | sort -u >"$root/declared"
nm -D --defined-only "$lib"/libath.so | awk '$2 ~ /[TDBRV]/ {print $3}' |
    grep -Ev 'asan|ubsan|^_' | sort -u >"$root/shown"
diff "$root/declared" "$root/shown" || { echo "headers (<) and libath.so (>) differ"; exit 1; }
