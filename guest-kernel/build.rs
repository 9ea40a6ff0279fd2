//! Gives each guest binary its linker script. Host builds (tests, lints) have no guest binaries and need none.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=kernel.ld");
    println!("cargo::rerun-if-changed=program.ld");
    println!("cargo::rerun-if-env-changed=MATRIX_MODULE");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    // The kernel and the programs are linked in two runs, see `architect/build.rs`.
    if std::env::var_os("CARGO_FEATURE_KERNEL").is_some() {
        println!("cargo::rustc-link-arg-bin=matrix=-T{here}/kernel.ld");
    } else if std::env::var_os("CARGO_FEATURE_PROGRAMS").is_some() {
        println!("cargo::rustc-link-arg-bins=-T{here}/program.ld");
    }
}
