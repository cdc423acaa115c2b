# Shared by tools/check and tools/quickstart: what must be installed, and how it is. Sourced, not run.
# shellcheck shell=bash

# What it takes to build athd, and to run it with a software TPM.
packages_build=(build-essential cmake ninja-build pkg-config
    libssl-dev libcjson-dev libuv1-dev libseccomp-dev libtss2-dev libp11-kit-dev libsystemd-dev)
packages_run=(swtpm swtpm-tools pinentry-curses)

# What the tests take besides: verifiers that are not ours, a bare client of the socket.
packages_test=(libcmocka-dev python3 python3-cryptography python3-jsonschema openssl tpm2-openssl tpm2-tools socat
    softhsm2 libtpm2-pkcs11-1 p11-kit p11-kit-modules opensc opensc-pkcs11 openssh-client
    gnutls-bin pcscd vsmartcard-vpcd dbus-daemon bubblewrap pinentry-tty zsh fish)

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# Installs those of the named Debian packages that are missing. apt is not touched when none is.
install_packages() {
    local package log missing=() as_root=()

    command -v dpkg-query >/dev/null ||
        die "this is no Debian; install what corresponds to: $*"
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            die "ask who administers this machine to install (there is no sudo here): ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing from Debian${as_root:+ (sudo may ask for your password)}: ${missing[*]}"
    log=$(mktemp) || exit 1
    { "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}"; } >"$log" 2>&1 </dev/null || {
            tail -n 20 "$log" >&2
            rm -f "$log"
            die "could not install; ask who administers this machine for: ${missing[*]}"
        }
    rm -f "$log"
}

# Compilers to run at once: what the processors and 1 GiB of memory each allow.
build_jobs() {
    local cpus memory_kib jobs
    cpus=$(nproc 2>/dev/null || echo 1)
    memory_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2>/dev/null || echo 0)
    jobs=$((memory_kib / 1048576))
    [ "$jobs" -ge 1 ] || jobs=1
    [ "$jobs" -le "$cpus" ] || jobs=$cpus
    echo "$jobs"
}
