#!/usr/bin/env bash
# Shared set-up functions, sourced by the other scripts. On a fresh Debian or Ubuntu machine they install what
# is missing, print one line for each saying what and why, and ask nothing. They need root (or sudo without a
# password) only where something is missing. No toolchain is ever updated.
#
# ARCHITECT_TOOLCHAIN=debian   use Debian's Rust packages even where rustup is installed
#
# shellcheck disable=SC2034 # what is set here is read by the scripts that source this file

# The folder that holds scripts/, and the target that the guest kernel is built for.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
guest_target=x86_64-unknown-none

# say TEXT...: one line on stderr; stdout belongs to the command that is being run.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# fail STATUS TEXT...
fail() {
    local status=$1
    shift
    say "$@"
    exit "$status"
}

have() { command -v "$1" >/dev/null; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        fail 3 "this needs root, and sudo asks for a password here. Run once as root: $*"
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
    apt_get update || say "apt-get update failed; going on with the lists that are there"
}

# package_exists NAME: does apt know a version of it that could be installed?
package_exists() { [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[0-9]* ]]; }

# install_packages WHY PACKAGE...
install_packages() {
    local why=$1
    shift
    have apt-get || fail 3 "missing: $* ($why). This is no Debian or Ubuntu machine: install them by hand."
    say "installing $* ($why)"
    renew_apt_lists
    apt_get install --no-install-recommends "$@" || fail 3 "could not install $*"
}

setup_gcc() {
    { have gcc && [ -e /usr/include/stdlib.h ]; } || install_packages "the linker for the host programs" gcc libc6-dev
}

setup_certificates() {
    [ -e /etc/ssl/certs/ca-certificates.crt ] || install_packages "to fetch crates over https" ca-certificates
}

# What scripts/svm-host and the tests under plain QEMU need.
setup_qemu() {
    have qemu-system-x86_64 || install_packages "to emulate a machine with KVM" qemu-system-x86
}

setup_svm_host() {
    setup_qemu
    [[ $(busybox --list 2>/dev/null) == *insmod* ]] || install_packages "the user land of the emulated machine" busybox-static
    have cpio || install_packages "to pack the emulated machine's files" cpio
    have ldd || install_packages "to find a program's shared libraries" libc-bin
}

# Can the Rust in PATH build this workspace? Sets rust_version.
rust_version=
rust_is_new_enough() {
    local least
    have cargo && have rustc || return 1
    rust_version=$(cd "$root" && rustc --version 2>/dev/null | cut -d ' ' -f 2)
    least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    [ -n "$rust_version" ] && [ "$(printf '%s\n' "$least" "$rust_version" | sort -V | head -n 1)" = "$least" ]
}

# Is the guest target's core library there, or the source from which cargo can build it?
guest_core_installed() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$guest_target/lib/libcore-*.rlib" >/dev/null; }
guest_core_source() { [ -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/core/Cargo.toml" ]; }

# Debian's own Rust, as its web browsers are built with: /usr/bin/cargo and /usr/bin/rustc.
debian_rust=
use_debian_rust() {
    local wanted=() package
    for package in cargo-web rustc-web rust-web-src lld; do
        dpkg -s "$package" >/dev/null 2>&1 || wanted+=("$package")
    done
    [ ${#wanted[@]} = 0 ] || install_packages "the Rust toolchain" "${wanted[@]}"
    export PATH="/usr/bin:$PATH"
    hash -r
    debian_rust=1
    rust_is_new_enough || fail 3 "Debian's Rust is ${rust_version:-missing}, which is too old for Cargo.toml's rust-version"
    rust_choice="Debian's Rust $rust_version, the guest's core library from source"
}

# Where there is neither a usable cargo nor cargo-web (Ubuntu): the distribution's rustup.
use_packaged_rustup() {
    install_packages "to fetch the Rust toolchain" rustup
    say "fetching the stable Rust toolchain (no usable one is installed)"
    rustup default stable >&2
    rustup target add "$guest_target" >&2
    hash -r
    rust_is_new_enough || fail 3 "rustup's toolchain is too old: ${rust_version:-none}"
    rust_choice="Rust $rust_version from the distribution's rustup"
}

# Makes a cargo and rustc available that build the host programs and the guest kernel; rust_choice says which.
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
    have apt-get || fail 3 "no Rust that can build the guest kernel: install rustup (https://rustup.rs), then run: rustup target add $guest_target"
    package_exists cargo-web || renew_apt_lists
    if package_exists cargo-web; then use_debian_rust; else use_packaged_rustup; fi
}

# build_architect: target/release/architect, and the guest's image beside it.
build_architect() { (cd "$root" && cargo build --release -p architect --locked --target-dir target "$@" >&2); }

# rustfmt and clippy: Debian has them as packages of their own, a minimal rustup lacks them.
setup_rust_checks() {
    if [ -z "$debian_rust" ]; then
        if have rustup && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
            say "adding rustfmt and clippy (to check formatting and code)"
            rustup component add rustfmt clippy >&2
        fi
        return
    fi
    [ -x /usr/bin/rustfmt ] || install_packages "to check the formatting" rustfmt-web
    [ -x /usr/bin/cargo-clippy ] || install_packages "to check the code" rust-web-clippy
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

# Can /dev/kvm be opened for reading and writing? Fills kvm_problem with what is wrong and what to change.
kvm_problem=
kvm_usable() {
    if { : <>/dev/kvm; } 2>/dev/null; then
        return 0
    elif [ ! -e /dev/kvm ]; then
        kvm_problem="there is no /dev/kvm: load the module kvm_intel or kvm_amd, and switch on virtualisation in the firmware (on a cloud machine: nested virtualisation)"
    elif [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
        kvm_problem="/dev/kvm may not be opened by $(id -un): join its group (as root: usermod -aG kvm $(id -un)) and log in again"
    else
        kvm_problem="/dev/kvm cannot be opened: load the module kvm_intel or kvm_amd"
    fi
    return 1
}

# on_svm_host ARG...: scripts/svm-host. Its own status 4 says that the emulator froze, as it may on a busy machine: then
# once more. Every other status is the program's, and final.
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
