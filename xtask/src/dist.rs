//! `cargo xtask dist`: the artefact that users install.
//!
//! The command is linked statically against musl, optimised as a whole and stripped; the guest's image and
//! the scenarios are inside. docs/decisions/0029 says what that costs and brings beside the everyday build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::workspace::{root, run};

/// What the artefact is built for. musl links statically and starts faster than glibc; at fixed addresses
/// there is nothing to relocate either.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Arguments of `cargo xtask dist`.
#[derive(Debug, Args)]
pub(crate) struct DistArgs {
    /// Folder that gets the files
    #[arg(long, value_name = "DIR", default_value = "target/distribution")]
    out: PathBuf,
    /// Leave out the Debian package
    #[arg(long)]
    no_deb: bool,
}

/// Builds the artefact.
///
/// # Errors
///
/// The step that failed, and what it needs.
pub(crate) fn dist(args: &DistArgs) -> Result<(), String> {
    let out = root().join(&args.out);
    check_target()?;
    let what = ["rustc", "--locked", "--package", "architect", "--bin", "architect"];
    run(cargo().args(what).args([
        "--profile",
        "dist",
        "--target",
        TARGET,
        "--",
        "-Crelocation-model=static",
    ]))?;
    run(cargo()
        .args(["run", "--release", "--locked", "--package", "architect", "--example", "manual"])
        .arg(&out))?;
    let built = root().join("target").join(TARGET).join("dist");
    copy(&built.join("architect"), &out.join("architect"))?;
    copy(&built.join("matrix.elf"), &out.join("matrix.elf"))?;
    if !args.no_deb {
        deb(&out)?;
    }
    println!("{}", out.display());
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("CARGO_TARGET_DIR", root().join("target"));
    cargo
}

/// Says what is missing before minutes of building.
fn check_target() -> Result<(), String> {
    let folder = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = folder.map_err(|error| format!("rustc: {error}"))?;
    if !Path::new(String::from_utf8_lossy(&folder.stdout).trim()).is_dir() {
        return Err(format!("the Rust target {TARGET} is missing: run `rustup target add {TARGET}`"));
    }
    match Command::new("musl-gcc").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("musl-gcc: {error}; SQLite is compiled with it (Debian: musl-tools)")),
    }
}

/// Packs the files of the folder into a Debian package, by `dpkg-deb`.
fn deb(out: &Path) -> Result<(), String> {
    let version = env!("CARGO_PKG_VERSION");
    let tree = out.join("deb");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|error| format!("{}: {error}", tree.display()))?;
    }
    let share = tree.join("usr/share");
    copy(&out.join("architect"), &tree.join("usr/bin/architect"))?;
    copy(&out.join("matrix.elf"), &tree.join("usr/lib/architect/matrix.elf"))?;
    for (from, to) in [
        ("completions/architect.bash", "bash-completion/completions/architect"),
        ("completions/_architect", "zsh/vendor-completions/_architect"),
        ("completions/architect.fish", "fish/vendor_completions.d/architect.fish"),
    ] {
        copy(&out.join(from), &share.join(to))?;
    }
    for license in ["LICENSE-APACHE", "LICENSE-BSD-3-Clause"] {
        copy(&root().join(license), &share.join("doc/architect").join(license))?;
    }
    let pages = out.join("man1");
    for page in fs::read_dir(&pages).map_err(|error| format!("{}: {error}", pages.display()))? {
        let page = page.map_err(|error| format!("{}: {error}", pages.display()))?;
        copy(&page.path(), &share.join("man/man1").join(page.file_name()))?;
    }
    let control = format!(
        "Package: architect\nVersion: {version}\nArchitecture: amd64\nMaintainer: The Architect maintainers <{}>\n\
         Section: utils\nPriority: optional\nHomepage: {}\n\
         Description: KVM virtual machine monitor that is a laboratory for kernels that go wrong\n \
         Boots a small message-passing kernel with one real memory-management bug, proves its\n \
         leaks by reading page tables from outside, injects faults, and repeats every run from\n \
         its seed.\n",
        "maintainers@example.invalid",
        env!("CARGO_PKG_REPOSITORY"),
    );
    let file = tree.join("DEBIAN/control");
    fs::create_dir_all(tree.join("DEBIAN")).map_err(|error| format!("{}: {error}", tree.display()))?;
    fs::write(&file, control).map_err(|error| format!("{}: {error}", file.display()))?;
    let package = out.join(format!("architect_{version}_amd64.deb"));
    run(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).args([&tree, &package]))
}

/// Copies a file, and makes the folders above it.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, to).map(|_| ()));
    copied.map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}
