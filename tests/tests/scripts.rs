//! What the set-up scripts decide before anything is built.

use std::path::Path;
use std::process::Command;

use tests::{run, skip};

/// The exit status of a line of bash that may call the functions of `scripts/lib.sh`, and what it prints.
fn with_library(line: &str, arguments: &[&Path]) -> (Option<i32>, String) {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib.sh");
    if Command::new("bash").arg("--version").output().is_err() {
        skip("there is no bash here");
    }
    let outcome =
        run(Command::new("bash").arg("-c").arg(format!(". \"$0\"; {line}")).arg(library).args(arguments));
    (outcome.status, outcome.stdout)
}

/// Opening what does not exist would create a file, for root, and the next check would find it.
#[test]
fn a_missing_kvm_device_is_told_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("kvm");
    let (status, problem) =
        with_library("kvm_usable \"$1\" || { echo \"$kvm_problem\"; exit 1; }", &[&device]);
    assert_eq!(status, Some(1));
    assert!(problem.starts_with(&format!("there is no {}", device.display())), "{problem}");
    assert!(!device.exists());
}

#[test]
fn a_file_in_the_place_of_the_kvm_device_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("kvm");
    std::fs::write(&device, "").unwrap();
    let (status, problem) =
        with_library("kvm_usable \"$1\" || { echo \"$kvm_problem\"; exit 1; }", &[&device]);
    assert_eq!(status, Some(1));
    assert!(problem.contains("is not a device"), "{problem}");
}

#[test]
fn versions_are_compared_by_number() {
    for (version, least, enough) in [
        ("1.88.0", "1.88", 0),
        ("1.100.1", "1.88", 0),
        ("1.85.0+dfsg3-1~deb12u3", "1.88", 1),
        ("", "1.88", 1),
    ] {
        let line = format!("at_least '{version}' '{least}'");
        assert_eq!(with_library(&line, &[]).0, Some(enough), "{line}");
    }
}
