//! Builds the guest: first the programs, packed into a boot module, then the kernel image with the module in it.
//!
//! The guest has a target of its own, so this runs cargo a second time, in a folder of its own. Where the toolchain has
//! no core library for the target (Debian's), core is built from source on the way.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::layout::{PAGE_SIZE, USER_DATA, USER_TEXT};
use abi::module::{Header, MODULE_MAGIC, MODULE_PROGRAMS, Program};
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use zerocopy::IntoBytes;

const TARGET: &str = "x86_64-unknown-none";
/// The workspace's profile for the guest.
const PROFILE: &str = "guest";

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    for path in ["guest-kernel", "guest-user", "abi", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let guest = Guest { root, target_dir: out.join("guest") };

    let programs = guest.programs();
    let mut arguments = vec!["--features", "programs"];
    for program in &programs {
        arguments.extend(["--bin", program]);
    }
    guest.cargo("guest-user", &arguments, None);
    let module = out.join("matrix.module");
    let names = programs.clone();
    let programs: Vec<_> = programs.iter().map(|name| (name.as_str(), guest.binary(name))).collect();
    fs::write(&module, pack(&programs)).expect("OUT_DIR can be written");

    guest.cargo("guest-kernel", &["--features", "kernel", "--bin", "matrix"], Some(&module));
    let image = out.join("matrix.elf");
    fs::copy(guest.binary("matrix"), &image).expect("the image was built");
    println!("cargo::rustc-env=BENCH_FLOOR={}", floor(&out).display());
    println!("cargo::rustc-env=MATRIX_IMAGE={}", image.display());
    println!("cargo::rustc-env=MATRIX_PROGRAMS={}", names.join(","));
    // Beside the binary as well, for other loaders: OUT_DIR is <profile folder>/build/<package>/out.
    if let Some(profile) = out.ancestors().nth(3) {
        fs::copy(&image, profile.join("matrix.elf")).expect("the target folder can be written");
    }
}

struct Guest {
    root: PathBuf,
    target_dir: PathBuf,
}

impl Guest {
    /// The programs, in the order of the boot module: by name. Each is a file, or a folder with a `main.rs`.
    fn programs(&self) -> Vec<String> {
        let folder = self.root.join("guest-user/src/bin");
        let files = fs::read_dir(folder).expect("the folder of the programs is there");
        let paths = files.map(|file| file.expect("the folder can be read").path());
        let mut names: Vec<String> = paths
            .filter(|path| {
                path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file()
            })
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort_unstable();
        names
    }

    fn binary(&self, name: &str) -> PathBuf {
        self.target_dir.join(TARGET).join(PROFILE).join(name)
    }

    fn cargo(&self, package: &str, arguments: &[&str], module: Option<&Path>) {
        // The kernel runs in the top 2 GiB, the programs in the lowest: both are what this code model is made for.
        let flags = ["-Crelocation-model=static", "-Ccode-model=kernel", "-Cforce-frame-pointers=yes"];
        let mut flags = flags.map(str::to_owned).to_vec();
        flags.extend(remap_paths(&self.root));
        let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let about_the_host = ["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PKG_", "CARGO_PROFILE_"];
            if about_the_host.iter().any(|prefix| name.starts_with(prefix)) {
                cargo.env_remove(name);
            }
        }
        for name in
            ["RUSTFLAGS", "RUSTDOCFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"]
        {
            cargo.env_remove(name);
        }
        for name in
            ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "CARGO_MAKEFLAGS", "MAKEFLAGS", "TARGET", "HOST"]
        {
            cargo.env_remove(name);
        }
        cargo.current_dir(&self.root);
        cargo.args([
            "build",
            "--profile",
            PROFILE,
            "--quiet",
            "--locked",
            "--package",
            package,
            "--target",
            TARGET,
        ]);
        cargo.arg("--target-dir").arg(&self.target_dir).args(arguments);
        if !has_core() {
            cargo.env("RUSTC_BOOTSTRAP", "1");
            cargo.args([
                "-Zbuild-std=core,alloc,compiler_builtins",
                "-Zbuild-std-features=compiler-builtins-mem",
            ]);
            flags.push("-Clinker=ld.lld".to_owned());
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        // Ring 0 is slow on some hosts: its paths are short only if the compiler sees all of them at once.
        cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1").env("CARGO_PROFILE_RELEASE_LTO", "fat");
        if let Some(module) = module {
            cargo.env("MATRIX_MODULE", module);
        }
        let status = cargo.status().expect("cargo can be run");
        assert!(status.success(), "the guest could not be built; see above");
    }
}

/// The yardstick of `architect bench`: a static program without a library, by the compiler that links ours.
fn floor(out: &Path) -> PathBuf {
    const SOURCE: &str = "src/bench/floor.c";
    println!("cargo::rerun-if-changed={SOURCE}");
    let program = out.join("floor");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let options = "-O2 -Wall -Wextra -ffreestanding -fno-stack-protector -fcf-protection=none -fno-pie -no-pie -static -nostdlib";
    let status =
        Command::new(&compiler).args(options.split(' ')).arg("-o").arg(&program).arg(SOURCE).status();
    assert!(status.is_ok_and(|status| status.success()), "{} cannot build {SOURCE}", compiler.display());
    program
}

/// The flags that keep folders of the build machine out of the image: the same source gives the same image anywhere.
fn remap_paths(root: &Path) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let core_source = PathBuf::from(rustc(&["--print", "sysroot"])).join("lib/rustlib/src/rust");
    let version = rustc(&["--version", "--verbose"]);
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    let mut folders = vec![(core_source, format!("/rustc/{commit}")), (root.to_owned(), ".".to_owned())];
    folders.extend(cargo_home.map(|folder| (folder, "/cargo".to_owned())));
    for (folder, _) in &mut folders {
        *folder = fs::canonicalize(&*folder).unwrap_or_else(|_| folder.clone());
    }
    // rustc applies the last one that matches, and one folder may lie inside another: the innermost comes last.
    folders.sort_by_key(|(folder, _)| folder.components().count());
    let flag =
        |(folder, name): &(PathBuf, String)| format!("--remap-path-prefix={}={name}", folder.display());
    folders.iter().map(flag).collect()
}

/// What the compiler prints with these arguments.
fn rustc(arguments: &[&str]) -> String {
    let output = Command::new(env::var_os("RUSTC").expect("cargo sets it")).args(arguments).output();
    String::from_utf8_lossy(&output.expect("rustc can be run").stdout).trim().to_owned()
}

/// Whether the toolchain came with a core library for the guest's target.
fn has_core() -> bool {
    fs::read_dir(rustc(&["--print", "target-libdir", "--target", TARGET])).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|f| f.file_name().to_string_lossy().starts_with("libcore-")))
    })
}

/// Packs programs into a boot module (see `abi::module`).
fn pack(programs: &[(&str, PathBuf)]) -> Vec<u8> {
    assert!(programs.len() <= MODULE_PROGRAMS);
    let mut entries = Vec::new();
    let mut pages: Vec<u8> = vec![0; PAGE_SIZE as usize];
    for (name, path) in programs {
        let bytes = fs::read(path).expect("the program was built");
        let file = ElfFile64::<object::Endianness>::parse(&*bytes).expect("the linker writes good files");
        let endian = file.endian();
        let mut entry = Program {
            entry: file.elf_header().e_entry(endian),
            text_page: (pages.len() as u64 / PAGE_SIZE) as u32,
            ..Program::default()
        };
        entry.name[..name.len()].copy_from_slice(name.as_bytes());
        for segment in file.elf_program_headers() {
            let (at, size) = (segment.p_vaddr(endian), segment.p_memsz(endian));
            if segment.p_type(endian) != elf::PT_LOAD || size == 0 {
                continue;
            }
            let count = size.div_ceil(PAGE_SIZE) as u32;
            if at == USER_DATA {
                entry.data_pages = count;
                continue;
            }
            let next = USER_TEXT + u64::from(entry.text_pages + entry.rodata_pages) * PAGE_SIZE;
            assert!(at == next, "{name}: a segment at {at:#x}, expected at {next:#x}");
            if segment.p_flags(endian).0 & elf::PF_X.0 != 0 {
                entry.text_pages = count;
            } else {
                entry.rodata_pages = count;
            }
            pages.extend_from_slice(segment.data(endian, &*bytes).expect("the segment is in the file"));
            pages.resize(pages.len().next_multiple_of(PAGE_SIZE as usize), 0);
        }
        entries.push(entry);
    }
    let header = Header {
        magic: MODULE_MAGIC,
        version: abi::info::VERSION,
        count: entries.len() as u32,
        pages: (pages.len() as u64 / PAGE_SIZE) as u32,
        reserved: [0; 3],
    };
    let (head, table) = pages.split_at_mut(size_of::<Header>());
    head.copy_from_slice(header.as_bytes());
    table[..entries.as_bytes().len()].copy_from_slice(entries.as_bytes());
    pages
}
