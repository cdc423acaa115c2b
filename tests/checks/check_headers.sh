#!/bin/sh
# Each header compiles by itself; the installed ones also as strict C99 and as C++.
# Usage: check_headers.sh SOURCE_DIR BUILD_DIR
set -eu
cd "$1"
build=$2
status=0

compile() { # HEADER COMPILER FLAGS...
    header=$1
    shift
    # a unit of its own, so that an empty header or #pragma once in a main file is no complaint
    if ! printf '#include "%s"\nextern int not_empty;\n' "$PWD/$header" |
        "$@" -Iinclude -Isrc -I. -I"$build/include" -fsyntax-only -; then
        echo "$header does not compile by itself with: $*"
        status=1
    fi
}

flags="-Wall -Wextra -Werror -pedantic"
# the TPM's and Cryptoki's headers lie where pkg-config says
found=$(pkg-config --cflags tss2-sys tss2-mu libuv p11-kit-1 2>/dev/null || true)

for header in $(find src hsm tools -name '*.h' | sort); do
    # shellcheck disable=SC2086 # the flags are words
    compile "$header" gcc -std=c17 -D_GNU_SOURCE $flags $found -x c
done
for header in include/ath/*.h "$build"/include/ath/*.h; do
    header=${header#"$PWD"/}
    if [ "${header#/}" != "$header" ]; then # a build folder outside the source
        cp "$header" "$build/checked_header.h"
        header=$(realpath --relative-to=. "$build/checked_header.h")
    fi
    # shellcheck disable=SC2086
    compile "$header" gcc -std=c99 $flags -x c
    if command -v g++ >/dev/null; then
        # shellcheck disable=SC2086
        compile "$header" g++ -std=c++11 $flags -x c++
    fi
done
exit $status
