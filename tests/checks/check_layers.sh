#!/bin/sh
# Who may include whom (docs/architecture.md): every #include of the sources against two tables.
# Usage: check_layers.sh SOURCE_DIR [BUILD_DIR]
set -eu

# layer: the layers it may include besides itself. "ath" stands for include/ath.
allowed_layers() {
    case $1 in
    include/ath) echo ;;
    src/base) echo ath ;;
    src/crypto) echo ath base ;;
    src/protocol) echo ath base crypto ;;
    src/rpc) echo ath base ;;
    src/pinentry) echo ath base ;;
    src/policy) echo ath base crypto protocol rpc ;;
    src/athd) echo ath base crypto policy protocol rpc pinentry hsm/wire ;;
    src/client) echo ath base rpc ;;
    hsm/wire) echo ath base ;;
    hsm) echo ath base crypto pinentry hsm/wire ;;
    hsm/tpm) echo ath base crypto hsm ;;
    hsm/pkcs11) echo ath base crypto hsm hsm/wire ;;
    tools/athd) echo ath base crypto protocol rpc policy athd ;;
    tools/ath-hsm-helper) echo ath base crypto hsm hsm/tpm hsm/pkcs11 ;;
    tools/ath-logind-watch) echo ath base ;;
    tools/ath_bench) echo ath base crypto policy protocol rpc client hsm hsm/tpm ;;
    tools/ath) echo ath base crypto pinentry policy protocol rpc client ;;
    *) echo unknown ;;
    esac
}

# What each library's headers may be included by; other <...> headers are the system's.
allowed_users() {
    case $1 in
    cjson/*) echo src/base/json ;;
    # the TPM: session HMACs, the ASN.1 of key files; PKCS#11: certificates beside keys
    openssl/*) echo src/crypto/ hsm/tpm/ hsm/pkcs11/ ;;
    tss2/*) echo hsm/tpm/ ;;
    p11-kit/* | pkcs11*) echo hsm/pkcs11/ tools/ath_bench_cryptoki. ;;
    uv.h | uv/*) echo src/athd/ src/pinentry/ ;;
    seccomp.h) echo src/athd/ hsm/ ;;
    systemd/*) echo tools/ath-logind-watch. ;;
    *) echo any ;;
    esac
}

# The layer a file belongs to; for tools, the program it is a part of.
layer_of() {
    case $1 in
    tools/athd[._]*) echo tools/athd ;;
    tools/ath-hsm-helper.* | tools/ath_hsm_helper_*) echo tools/ath-hsm-helper ;;
    tools/ath-logind-watch.*) echo tools/ath-logind-watch ;;
    tools/ath-bench.* | tools/ath_bench[._]*) echo tools/ath_bench ;;
    tools/*) echo tools/ath ;;
    *) echo "${1%/*}" ;;
    esac
}

# The layer an "..." include names: "base/json.h" is base, a name without folder the file's own.
target_of() {
    case $1 in
    */*) echo "${1%/*}" ;;
    *) echo . ;;
    esac
}

contains() { # WORD LIST...
    word=$1
    shift
    for entry in "$@"; do
        if [ "$entry" = "$word" ]; then
            return 0
        fi
    done
    return 1
}

check_own() { # FILE LAYER INCLUDED
    target=$(target_of "$3")
    if [ "$target" = . ] || [ "$target" = "${2#src/}" ] || [ "include/$target" = "$2" ]; then
        return 0
    fi
    # shellcheck disable=SC2046 # the table's words are wanted one by one
    if ! contains "$target" $(allowed_layers "$2"); then
        echo "$1 includes \"$3\": $2 may not include $target"
    elif [ "$2" = src/base ] && [ "$3" != ath/err.h ]; then
        echo "$1 includes \"$3\": src/base may include ath/err.h only"
    fi
}

check_library() { # FILE INCLUDED
    users=$(allowed_users "$2")
    if [ "$users" = any ]; then
        return 0
    fi
    for user in $users; do
        case $1 in
        "$user"*) return 0 ;;
        esac
    done
    echo "$1 includes <$2>, which only $users may"
}

# Prints one line for each include that breaks a rule.
violations() ( # SOURCE_DIR
    cd "$1"
    for folder in include src hsm tools; do
        if [ -d "$folder" ]; then
            find "$folder" -name '*.[ch]'
        fi
    done | sort | while read -r file; do
        layer=$(layer_of "$file")
        if [ "$(allowed_layers "$layer")" = unknown ]; then
            echo "$file lies in no layer"
        fi
        sed -n 's/^[ \t]*#[ \t]*include[ \t]*\(["<][^">]*\).*/\1/p' "$file" | while read -r included; do
            case $included in
            '"'*) check_own "$file" "$layer" "${included#?}" ;;
            '<'*) check_library "$file" "${included#?}" ;;
            esac
        done
    done
)

# The check itself must be able to fail: a tree that breaks each kind of rule once.
control=$(mktemp -d)
trap 'rm -rf "$control"' EXIT
mkdir -p "$control/src/base" "$control/src/athd" "$control/hsm/tpm" "$control/src/new"
echo '#include "crypto/digest.h"' >"$control/src/base/up.c"
echo '#include <cjson/cJSON.h>' >"$control/src/athd/json.c"
echo ' # include "hsm/hsm.h"' >"$control/src/athd/hsm.c"
echo '#include "hsm/pkcs11/pkcs11_key.h"' >"$control/hsm/tpm/other.c"
: >"$control/src/new/layer.c"
if [ "$(violations "$control" | wc -l)" -ne 5 ]; then
    echo "the check does not see what it must:"
    violations "$control"
    exit 1
fi

found=$(violations "$1")
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi
echo "every include is allowed"
