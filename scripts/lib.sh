#!/usr/bin/env bash
# Functions that the other scripts share; they source this file. On a fresh Debian or Ubuntu machine these functions
# install what is missing and print one line for each package: what, and why. No toolchain is ever updated.
#
# Installing needs root, or sudo. Where nothing is missing neither is used.
#
# ARCHITECT_TOOLCHAIN=debian   use Debian's Rust packages even where rustup is installed
#
# shellcheck disable=SC2034 # the scripts that source this file read these variables

# The folder that holds scripts/, and the target that the guest kernel is built for.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
guest_target=x86_64-unknown-none

# say TEXT...: prints one line on stderr; stdout belongs to the command that is being run.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# fail STATUS TEXT...
fail() {
    local status=$1
    shift
    say "$@"
    exit "$status"
}

have() { command -v "$1" >/dev/null; }

# as_root COMMAND...: runs a command as root. sudo may ask for a password only where a terminal can answer.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! have sudo; then
        fail 3 "this needs root, and there is no sudo here. As root, run: $*"
    elif sudo -n true 2>/dev/null || { : </dev/tty; } 2>/dev/null; then
        sudo "$@"
    else
        fail 3 "this needs root; sudo wants a password and there is no terminal to type it. As root, run: $*"
    fi
}

# apt_get ARG...: apt-get without questions; its output is shown only if it fails.
apt_get() {
    local log status=0
    log=$(mktemp)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" = 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# The package lists of a fresh machine may be absent or old: renew them, at most once in a script.
apt_lists_renewed=
renew_apt_lists() {
    [ -z "$apt_lists_renewed" ] || return 0
    apt_lists_renewed=1
    apt_get update || say "apt-get update failed; continuing with the old package lists"
}

# candidate NAME: prints the version of a package that apt would install, or nothing.
candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9].*\)/\1/p'; }
package_exists() { [ -n "$(candidate "$1")" ]; }

# install_packages WHY PACKAGE...
install_packages() {
    local why=$1
    shift
    have apt-get || fail 3 "missing: $* ($why). This is neither Debian nor Ubuntu: install the equivalent packages"
    say "installing $* ($why)"
    renew_apt_lists
    apt_get install --no-install-recommends "$@" || fail 3 "could not install $*"
}

setup_gcc() {
    { have gcc && [ -e /usr/include/stdlib.h ]; } || install_packages "C compiler and linker" gcc libc6-dev
}

setup_certificates() {
    [ -e "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ] ||
        install_packages "to fetch crates over https" ca-certificates
}

# What scripts/svm-host and the tests under plain QEMU need.
setup_qemu() {
    have qemu-system-x86_64 || install_packages "to emulate a machine with KVM" qemu-system-x86
}

setup_svm_host() {
    setup_qemu
    [[ $(busybox --list 2>/dev/null) == *insmod* ]] || install_packages "user land of the emulated machine" busybox-static
    have cpio || install_packages "to pack the emulated machine's files" cpio
    have ldd || install_packages "to find a program's shared libraries" libc-bin
}

# at_least VERSION LEAST
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }
least_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml"; }

# Can the Rust in PATH build this workspace? Sets rust_version.
rust_version=
rust_is_new_enough() {
    have cargo && have rustc || return 1
    rust_version=$(cd "$root" && rustc --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$rust_version" ] && at_least "$rust_version" "$(least_rust)"
}

# Is the guest target's core library there, or the source from which cargo can build it?
guest_core_installed() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$guest_target/lib/libcore-*.rlib" >/dev/null; }
guest_core_source() { [ -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/core/Cargo.toml" ]; }

# Debian's current Rust: the packages with which Debian builds its web browsers. They install /usr/bin/cargo.
use_debian_rust() {
    local wanted=() package
    for package in cargo-web rustc-web rust-web-src lld; do
        dpkg -s "$package" >/dev/null 2>&1 || wanted+=("$package")
    done
    [ ${#wanted[@]} = 0 ] || install_packages "Rust toolchain" "${wanted[@]}"
    export PATH="/usr/bin:$PATH"
    hash -r
    rust_is_new_enough ||
        fail 3 "Debian's Rust is ${rust_version:-missing}, but $(least_rust) is needed: add Debian's security archive to apt's sources, or install rustup (https://rustup.rs)"
    rust_choice="Debian's Rust $rust_version, the guest's core library from source"
}

# The distribution's rustup, where there is no recent cargo-web (Ubuntu).
use_packaged_rustup() {
    package_exists rustup ||
        fail 3 "apt has no Rust $(least_rust) or later: install rustup (https://rustup.rs), then run: rustup target add $guest_target"
    install_packages "to fetch the Rust toolchain" rustup
    say "fetching the stable Rust toolchain"
    rustup default stable >&2
    rustup target add "$guest_target" >&2
    hash -r
    rust_is_new_enough || fail 3 "rustup's toolchain is ${rust_version:-missing}, but $(least_rust) is needed"
    rust_choice="Rust $rust_version from the distribution's rustup"
}

# Provides a cargo and a rustc that build the host programs and the guest kernel; rust_choice says which.
rust_choice=
setup_rust() {
    export RUSTUP_AUTO_INSTALL=0
    setup_gcc
    setup_certificates
    if [ "${ARCHITECT_TOOLCHAIN:-}" = debian ]; then
        use_debian_rust
        return
    fi
    have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    if rust_is_new_enough; then
        if ! guest_core_installed && have rustup; then
            say "adding the Rust target $guest_target (the guest kernel is built for it)"
            rustup target add "$guest_target" >&2 || say "rustup could not add the target"
        fi
        if guest_core_installed; then
            rust_choice="Rust $rust_version with the target $guest_target"
            return
        elif guest_core_source && have ld.lld; then
            rust_choice="Rust $rust_version, the guest's core library from source"
            return
        fi
    fi
    have apt-get ||
        fail 3 "no Rust here can build the guest kernel: install rustup (https://rustup.rs), then run: rustup target add $guest_target"
    package_exists cargo-web || renew_apt_lists
    if at_least "$(candidate cargo-web)" "$(least_rust)"; then use_debian_rust; else use_packaged_rustup; fi
}

# build_architect [CARGO_ARG...]: target/release/architect, and the guest's image beside it.
build_architect() {
    say "building with $rust_choice (a first build takes some minutes)"
    (cd "$root" && cargo build --release -p architect --locked --target-dir target "$@" >&2)
}

# Are these cargo subcommands there? Some toolchains have a proxy for a missing one, which fails.
have_cargo() { cargo "$1" --version >/dev/null 2>&1; }

# Provides rustfmt and clippy of the toolchain in use, where they can be had: a minimal rustup lacks them, and Debian has
# packages for each of its toolchains.
setup_rust_checks() {
    local compiler wanted=()
    if have_cargo fmt && have_cargo clippy; then return; fi
    if have rustup && [[ $(rustc --print sysroot) != /usr ]]; then
        say "adding rustfmt and clippy (to check formatting and code)"
        rustup component add rustfmt clippy >&2 || say "rustup could not add them"
        return
    fi
    compiler=$(dpkg -S "$(realpath "$(type -P rustc)")" 2>/dev/null | cut -d : -f 1)
    case $compiler in
        rustc-web) wanted=(rustfmt-web rust-web-clippy) ;;
        rustc) wanted=(rustfmt rust-clippy) ;;
    esac
    if [ ${#wanted[@]} != 0 ]; then
        (install_packages "to check formatting and code" "${wanted[@]}") || say "continuing without them"
    fi
    hash -r
}

# cargo_for_guest SUBCOMMAND ARG...: cargo for the guest's target, with its core library from source where needed.
cargo_for_guest() {
    local flags=(--target "$guest_target") environment=() crates=core,alloc,compiler_builtins
    if ! guest_core_installed; then
        environment=(RUSTC_BOOTSTRAP=1)
        flags+=("-Zbuild-std=$crates" -Zbuild-std-features=compiler-builtins-mem)
    fi
    env "${environment[@]}" cargo "$1" "${flags[@]}" "${@:2}"
}

# kvm_usable [DEVICE]: can /dev/kvm be opened for reading and writing? If not, kvm_problem says why and what to change.
# Only a device is opened: for root, opening what does not exist would create a file.
kvm_problem=
kvm_usable() {
    local device=${1:-/dev/kvm}
    if [ ! -e "$device" ]; then
        kvm_problem="there is no $device: load the module kvm_intel or kvm_amd, and switch on virtualisation in the firmware (on a cloud machine: nested virtualisation)"
    elif [ ! -c "$device" ]; then
        kvm_problem="$device is not a device: remove it, then load the module kvm_intel or kvm_amd"
    elif { : <>"$device"; } 2>/dev/null; then
        return 0
    elif [ ! -r "$device" ] || [ ! -w "$device" ]; then
        kvm_problem="$(id -un) may not open $device: join its group (as root: usermod -aG kvm $(id -un)) and log in again"
    else
        kvm_problem="$device cannot be opened: load the module kvm_intel or kvm_amd"
    fi
    return 1
}

# on_svm_host ARG...: runs scripts/svm-host. Its own status 4 says that the emulator froze, as it may on a busy machine:
# then once more. Any other status is the program's, and final.
on_svm_host() {
    local status=0
    "$root/scripts/svm-host" "$@" || status=$?
    if [ "$status" = 4 ]; then
        say "the emulated host froze; once more"
        status=0
        "$root/scripts/svm-host" "$@" || status=$?
    fi
    return "$status"
}
