//! Gives the kernel image its linker script. Host builds (tests, lints) have no image and need none.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=kernel.ld");
    println!("cargo::rerun-if-env-changed=MATRIX_MODULE");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bin=matrix=-T{here}/kernel.ld");
    }
}
