//! `architect boot`: everything that is refused before a guest starts, with a message that says what is
//! wrong, where, and what to do.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use iced_x86::code_asm::*;
use tests::{BASE, Elf, Kernel, Outcome, Segment, architect, architect_path, assemble, boot, run};

/// Code that prints "x" and ends with status 0. A refused kernel must not get that far.
fn code() -> Vec<u8> {
    assemble(|a| {
        a.mov(edx, 0x3f8).unwrap();
        a.mov(eax, 0x78).unwrap();
        a.out(dx, al).unwrap();
        a.xor(eax, eax).unwrap();
        a.out(0xf4, al).unwrap();
    })
}

fn good() -> Elf {
    Elf::new(&code())
}

/// Asserts status 2, no output of a guest, and a message with these words that says where and what to do.
fn assert_refused(outcome: &Outcome, words: &[&str]) {
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
    for word in words.iter().chain(&["where:", "remedy:"]) {
        assert!(outcome.stderr.contains(word), "no {word:?} in {outcome:?}");
    }
}

fn refused(elf: &Elf, arguments: &[&str], words: &[&str]) {
    let kernel = Kernel::from_bytes(&elf.bytes());
    let outcome = boot(&kernel, arguments);
    assert_refused(&outcome, words);
    assert!(outcome.stderr.contains(kernel.path().to_str().unwrap()), "{outcome:?}");
}

#[test]
fn the_kernel_of_these_tests_boots_unless_it_is_spoilt() {
    let outcome = boot(&Kernel::from_bytes(&good().bytes()), &[]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(0), "x"), "{outcome:?}");
}

#[test]
fn files_that_are_no_kernels_are_refused() {
    assert_refused(&run(architect().args(["boot", "/nonexistent/kernel"])), &["/nonexistent/kernel"]);
    assert_refused(&run(architect().args(["boot", "/"])), &["directory"]);
    assert_refused(&boot(&Kernel::from_bytes(b""), &[]), &["empty"]);
    assert_refused(&boot(&Kernel::from_bytes(b"#!/bin/sh\n"), &[]), &["not an ELF file"]);
    assert_refused(&boot(&Kernel::from_bytes(&good().bytes()[..40]), &[]), &["truncated"]);
    // An endless file is not read for ever.
    assert_refused(&run(architect().args(["boot", "/dev/zero"])), &["larger than"]);
}

#[test]
fn truncated_kernels_are_refused() {
    let whole = good().bytes();
    for len in (1..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let outcome = boot(&Kernel::from_bytes(&whole[..len]), &[]);
        assert_refused(&outcome, &[]);
    }
}

#[test]
fn elf_files_of_the_wrong_kind_are_refused() {
    refused(&Elf { class: 1, ..good() }, &[], &["32 bits"]);
    refused(&Elf { order: 2, ..good() }, &[], &["big-endian"]);
    refused(&Elf { machine: 183, ..good() }, &[], &["machine 183"]);
    refused(&Elf { kind: 1, ..good() }, &[], &["type 1"]);
    refused(&Elf { pvh: None, ..good() }, &[], &["no PVH entry point", "CONFIG_PVH"]);
    refused(&Elf { pvh: Some(vec![0, 0]), ..good() }, &[], &["PVH note"]);
    refused(&Elf { segments: vec![], ..good() }, &[], &["no segment"]);
}

#[test]
fn segments_in_wrong_places_are_refused() {
    let with = |at: u64, in_memory: u64| {
        let mut elf = good();
        elf.segments.push(Segment { at, bytes: vec![1; 16], in_memory });
        elf
    };
    refused(&with(0, 16), &[], &["segment 1", "first page"]);
    refused(&with(0x6800, 16), &[], &["segment 1", "start info"]);
    refused(&with(0xf_0000, 16), &[], &["segment 1", "no memory"]);
    refused(&with(0xfec0_0000, 16), &[], &["segment 1", "3 GiB"]);
    refused(&with(u64::MAX - 20, 100), &[], &["segment 1", "last address"]);
    refused(&with(1 << 60, 100), &[], &["segment 1"]);
    refused(&with(BASE + 4, 100), &[], &["segments 0 and 1 overlap", "0x100004"]);
    refused(&with(0x20_0000, 8), &[], &["16 bytes in the file"]);
    refused(
        &Elf { pvh: Some(0x30_0000_u32.to_le_bytes().to_vec()), ..good() },
        &[],
        &["entry point 0x300000"],
    );
}

#[test]
fn too_little_memory_says_how_much_would_do() {
    let mut large = good();
    large.segments[0].in_memory = 40 << 20;
    refused(&large, &["--mem", "16"], &["16 MiB", "--mem 41"]);
    let outcome = boot(&Kernel::from_bytes(&large.bytes()), &["--mem", "41"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");

    let kernel = Kernel::from_bytes(&good().bytes());
    let module = kernel.beside("module");
    std::fs::write(&module, vec![1; 5 << 20]).unwrap();
    let module = module.to_str().unwrap();
    assert_refused(&boot(&kernel, &["--mem", "4", "--module", module]), &[module, "--mem 7"]);
    let outcome = boot(&kernel, &["--mem", "7", "--module", module]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

#[test]
fn unusable_modules_and_command_lines_are_refused() {
    let kernel = Kernel::from_bytes(&good().bytes());
    assert_refused(&boot(&kernel, &["--module", "/nonexistent/module"]), &["/nonexistent/module"]);
    let empty = kernel.beside("empty");
    std::fs::write(&empty, "").unwrap();
    assert_refused(&boot(&kernel, &["--module", empty.to_str().unwrap()]), &["empty"]);
    assert_refused(&boot(&kernel, &["--cmdline", &"x".repeat(20_000)]), &["20000 bytes", "--cmdline"]);
}

#[test]
fn wrong_arguments_are_refused() {
    let kernel = Kernel::from_bytes(&good().bytes());
    for arguments in [
        &["--mem", "0"][..],
        &["--mem", "much"],
        &["--mem", "99999999"],
        &["--timeout", "-1"],
        &["--timeout", "0"],
        &["--watchdog", "explode"],
        &["--watchdog", "nmi,reset,poweroff"],
        &["--no-such-option"],
        &["another-kernel"],
    ] {
        let outcome = boot(&kernel, arguments);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
        assert!(outcome.stderr.contains(arguments[0]), "{outcome:?}");
    }
    for arguments in [&["boot"][..], &["fly"], &[]] {
        assert_eq!(run(architect().args(arguments)).status, Some(2));
    }
}

#[test]
fn unwritable_output_files_are_refused() {
    let kernel = Kernel::from_bytes(&good().bytes());
    for option in ["--core", "--json", "--serial"] {
        for path in ["/nonexistent/folder/file", "/", "/proc/no-such-file"] {
            assert_refused(&boot(&kernel, &[option, path]), &[option, path]);
        }
    }
    assert_refused(&boot(&kernel, &["--core", "/dev/null"]), &["--core", "pipe"]);
}

#[test]
fn without_access_to_kvm_the_status_is_3() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can switch to a user without access to /dev/kvm");
        return;
    }
    let mode = std::fs::metadata("/dev/kvm").map(|about| about.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o006 != 0) {
        eprintln!("skipped: every user has access to /dev/kvm here");
        return;
    }
    // The user `nobody` must be able to reach the program and the kernel.
    let folder =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let (program, kernel) = (folder.path().join("architect"), folder.path().join("kernel"));
    // `cp` makes the copy: a child that another test starts meanwhile would inherit the open file, and Linux
    // does not execute a file that is open for writing.
    assert!(std::process::Command::new("cp").arg(architect_path()).arg(&program).status().unwrap().success());
    std::fs::write(&kernel, good().bytes()).unwrap();
    std::fs::set_permissions(&kernel, std::fs::Permissions::from_mode(0o644)).unwrap();
    let nobody = || {
        let mut command = std::process::Command::new(&program);
        command.uid(65534).gid(65534).current_dir("/");
        command
    };
    let outcome = run(nobody().arg("boot").arg(&kernel));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(3), ""), "{outcome:?}");
    for word in ["permission", "/dev/kvm", "where:", "remedy:", "usermod"] {
        assert!(outcome.stderr.contains(word), "{outcome:?}");
    }
    let outcome = run(nobody().arg("doctor"));
    assert_eq!(outcome.status, Some(3), "{outcome:?}");
    assert!(outcome.stdout.contains("Nothing runs"), "{outcome:?}");
}
