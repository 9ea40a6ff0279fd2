//! `architect inspect`: every subject on the core of a real run, as text and as JSON, and every way in which
//! a dump can be wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use iced_x86::code_asm::{al, dx, eax, edx};
use serde_json::Value;
use tempfile::TempDir;
use tests::{Outcome, architect, run, scenario};

/// A run that ends while the first leaks exist, with its core.
struct Run {
    folder: TempDir,
    verdict: Value,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let arguments = ["--set", "vm.max-ticks=250", "--core", "--out", out];
    let (outcome, verdict) = tests::run_json(&scenario("demo-leak.toml"), &arguments);
    assert_eq!(outcome.status, Some(1), "it ends before all that the scenario expects: {outcome:?}");
    Run { folder, verdict }
});

fn core() -> PathBuf {
    RUN.folder.path().join("core.elf")
}

fn inspect(source: &Path, arguments: &[&str]) -> Outcome {
    run(architect().arg("inspect").arg(source).args(arguments))
}

/// The text and the JSON document on one subject; both must exist, and be the same each time.
fn both(arguments: &[&str]) -> (String, Value) {
    let text = inspect(RUN.folder.path(), arguments);
    assert_eq!((text.status, text.stderr.as_str()), (Some(0), ""), "{arguments:?}: {text:?}");
    let with_json: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
    let json = inspect(&core(), &with_json);
    assert_eq!(json.status, Some(0), "{arguments:?}: {json:?}");
    assert_eq!(inspect(&core(), &with_json).stdout, json.stdout, "the order is stable");
    let document: Value =
        serde_json::from_str(&json.stdout).unwrap_or_else(|error| panic!("{error}: {json:?}"));
    assert_eq!((&document["version"], &document["subject"]), (&1.into(), &arguments[0].into()));
    (text.stdout, document)
}

fn list<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().unwrap_or_else(|| panic!("no list {key} in {document:#}"))
}

fn number(text: &Value) -> u64 {
    let text = text.as_str().unwrap_or_else(|| panic!("{text} is no address"));
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

/// The evidence for the first leak, from the verdict.
fn leak() -> &'static Value {
    &RUN.verdict["beats"]["leak"]["evidence"]
}

#[test]
fn the_leak_of_the_verdict_is_in_the_core() {
    let (text, document) = both(&["leaks"]);
    let findings = list(&document, "findings");
    assert_eq!(document["tick"], 250);
    assert_eq!(document["violations"], findings.len());
    assert_eq!(document["tallies"]["leak"], RUN.verdict["leaks"]["detected"], "all of them still stand");
    let same = findings.iter().find(|finding| finding["frame"] == leak()["frame"]);
    let same = same.unwrap_or_else(|| panic!("{} is not in {document:#}", leak()["frame"]));
    for key in ["owner", "physical", "kind", "mappings"] {
        assert_eq!(same[key], leak()[key], "{key}");
    }
    for part in
        [leak()["frame"].as_str().unwrap(), "uncovered", leak()["mappings"][1]["entry"].as_str().unwrap()]
    {
        assert!(text.contains(part), "{part} not in {text}");
    }
}

#[test]
fn processes_are_listed_with_the_rest_of_the_guests_figures() {
    let (text, document) = both(&["ps"]);
    let processes = list(&document, "processes");
    assert_eq!(document["alive"], processes.len());
    assert_eq!(document["problems"], Value::Array(vec![]));
    let owner = processes.iter().find(|process| process["pid"] == leak()["owner"]).unwrap();
    assert_eq!((&owner["name"], &owner["ring"]), (&"client".into(), &3.into()));
    let clients = processes.iter().filter(|process| process["name"] == "client").count();
    assert!(clients > 20, "{text}");
    assert_eq!(text.lines().filter(|line| line.contains(" client ")).count(), clients);
    assert!(text.starts_with("tick 250:"), "{text}");
}

#[test]
fn every_address_space_is_found_in_memory_and_none_is_hidden() {
    let (text, document) = both(&["roots"]);
    let (_, ps) = both(&["ps"]);
    assert_eq!(document["hidden"], 0);
    assert!(text.contains(" 0 hidden"), "{text}");
    let roots = list(&document, "roots");
    for process in list(&ps, "processes").iter().filter(|process| process["ring"] == 3) {
        let root = roots.iter().find(|root| root["pid"] == process["pid"]).unwrap();
        assert_eq!((&root["root"], &root["standing"]), (&process["root"], &"named".into()));
        let by = list(root, "found_by");
        assert!(by.contains(&"table".into()) && by.contains(&"memory".into()), "{root:#}");
    }
    assert!(roots.iter().any(|root| list(root, "found_by").contains(&"cpu 0".into())));
}

#[test]
fn maps_translate_and_read_agree() {
    let owner = &leak()["mappings"][0];
    let (pid, at) = (owner["pid"].as_str().unwrap(), owner["virtual"].as_str().unwrap());
    let (text, maps) = both(&["maps", pid]);
    assert!(text.contains("client, root 0x"), "{text}");
    let virt = number(&owner["virtual"]);
    let holds = |range: &&Value| {
        let from = number(&range["virtual"]);
        (from..from + range["bytes"].as_u64().unwrap()).contains(&virt)
    };
    let range = list(&maps, "mappings").iter().find(holds).unwrap();
    let frame = number(&range["frame"]) + (virt - number(&range["virtual"])) / 4096;
    assert_eq!(frame, number(&leak()["frame"]));

    let (text, found) = both(&["translate", at, "--pid", pid]);
    assert_eq!((&found["physical"], &found["entry"]["at"]), (&leak()["physical"], &owner["entry"]));
    assert_eq!(found["rights"], serde_json::json!({"write": true, "execute": false, "user": true}));
    assert!(text.contains(leak()["physical"].as_str().unwrap()), "{text}");
    // A slot and a root give the same as the pid.
    let slot = pid.split('.').next().unwrap();
    let root = found["space"]["root"].as_str().unwrap();
    for who in [slot, root] {
        assert_eq!(both(&["translate", at, "--pid", who]).1, found, "{who}");
    }

    // The page is the same for its owner, for the intruder, and in physical memory.
    let intruder = &leak()["mappings"][1];
    let of = |arguments: &[&str]| both(arguments).1["bytes"].as_str().unwrap().to_owned();
    let bytes = of(&["read", at, "4096", "--pid", pid]);
    assert_eq!(bytes.len(), 8192);
    let (other, there) = (intruder["pid"].as_str().unwrap(), intruder["virtual"].as_str().unwrap());
    assert_eq!(of(&["read", there, "4096", "--pid", other]), bytes);
    assert_eq!(of(&["read", leak()["physical"].as_str().unwrap(), "4096"]), bytes);
    let direct = format!("{:#x}", 0xffff_8000_0000_0000 + number(&leak()["physical"]));
    assert_eq!(of(&["read", &direct, "4096"]), bytes, "the upper half is the kernel's");
    // Across a page boundary.
    assert_eq!(of(&["read", "0x400ff0", "0x20", "--pid", pid]).len(), 64);
}

#[test]
fn the_kernels_own_address_space_is_the_default() {
    let (text, maps) = both(&["maps"]);
    assert!(text.starts_with("kernel, root 0x"), "{text}");
    let user = list(&maps, "mappings").iter().filter(|range| range["rights"]["user"] == true).count();
    assert_eq!(user, 0, "ring 3 has nothing in it");
    let (_, found) = both(&["translate", "0xffffffff80108000"]);
    assert_eq!(found["physical"], "0x108000");
}

#[test]
fn frames_add_up_and_one_of_them_is_told_with_who_maps_it() {
    let (_, document) = both(&["frames"]);
    let kinds = document["kinds"].as_object().unwrap();
    assert_eq!(document["frames"], kinds.values().map(|count| count.as_u64().unwrap()).sum::<u64>());
    let runs = list(&document, "runs").iter().map(|run| run["frames"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(document["frames"], runs);
    let (text, one) = both(&["frames", leak()["frame"].as_str().unwrap()]);
    let pids: Vec<_> = list(&one, "mappings").iter().map(|mapping| &mapping["pid"]).collect();
    assert!(pids.contains(&&leak()["owner"]) && pids.len() == 2, "{one:#}");
    assert!(text.contains("user of"), "{text}");
}

#[test]
fn sharing_is_listed_whether_it_is_right_or_not() {
    let (text, document) = both(&["shared"]);
    let shared = list(&document, "shared");
    let of = |kind: &str| shared.iter().filter(|frame| frame["use"]["kind"] == kind).count();
    assert!(of("program") > 0, "programs are shared, and rightly");
    assert!(shared.iter().any(|frame| frame["frame"] == leak()["frame"]), "{text}");
    for frame in shared {
        let mut spaces: Vec<_> =
            list(frame, "mappings").iter().map(|m| m["space"].as_u64().unwrap()).collect();
        spaces.dedup();
        assert!(spaces.len() > 1, "{frame:#}");
    }
}

#[test]
fn addresses_have_names() {
    let (text, document) = both(&["symbols"]);
    let cpu = &list(&document, "places")[0];
    assert_eq!((&cpu["who"], &cpu["ring"]), (&"cpu 0".into(), &0.into()));
    assert!(cpu["place"]["file"].as_str().unwrap().starts_with("guest-kernel/src/"), "{cpu:#}");
    assert!(text.contains("nmi_entry"));
    let (text, found) = both(&["symbols", "nmi_entry"]);
    assert_eq!(list(&found, "places")[0]["place"]["offset"], 0);
    assert!(text.contains("nmi_entry+0x0"), "{text}");
    // The same from the image's own file, where there is one beside the command.
    let image = tests::architect_path().with_file_name("matrix.elf");
    if image.exists() {
        let named = both(&["symbols", "nmi_entry", "--image", image.to_str().unwrap()]);
        assert_eq!(named.1["places"], found["places"]);
    }
}

#[test]
fn a_raw_dump_says_the_same_as_the_core() {
    let home = tempfile::tempdir().unwrap();
    let raw = home.path().join("memory.raw");
    let file = fs::read(core()).unwrap();
    // The one segment begins at the second page of the file.
    fs::write(&raw, &file[4096..]).unwrap();
    for arguments in [&["ps", "--json"][..], &["leaks", "--json"], &["frames", "--json"], &["maps", "--json"]]
    {
        let json = |source: &Path| {
            let outcome = inspect(source, arguments);
            assert_eq!(outcome.status, Some(0), "{outcome:?}");
            let mut document: Value = serde_json::from_str(&outcome.stdout).unwrap();
            document["source"].take();
            document
        };
        assert_eq!(json(&raw), json(&core()), "{arguments:?}");
    }
}

/// The folder has a core of the incarnation that was reset, and one of its successor.
#[test]
fn each_incarnation_has_a_core() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().to_str().unwrap();
    let arguments =
        ["--core", "--out", out, "--set", "watchdog.timeout-ticks=20", "--set", "watchdog.first=\"reset\""];
    let (outcome, verdict) = tests::run_json(&scenario("demo-leak.toml"), &arguments);
    assert_eq!(verdict["incarnations"], 2, "{outcome:?}");
    let tick = |name: &str| {
        let outcome = inspect(&home.path().join(name), &["ps", "--json"]);
        let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
        document["tick"].as_u64().unwrap()
    };
    assert_eq!(tick("core-2.elf"), 20);
    assert_eq!(tick("core.elf") + tick("core-2.elf"), verdict["ticks"].as_u64().unwrap());
}

#[test]
fn a_core_needs_a_folder() {
    let outcome = run(architect().args(["run", "x.toml", "--core"]));
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("--out"), "{}", outcome.stderr);
}

/// Asserts one message that says what is wrong, where, and what to do; status 2; nothing on standard output.
fn refused(source: &Path, arguments: &[&str], parts: &[&str]) {
    let outcome = inspect(source, arguments);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{arguments:?}: {outcome:?}");
    for part in parts.iter().chain(&["where:", "remedy:"]) {
        assert!(outcome.stderr.contains(part), "{part:?} not in {}", outcome.stderr);
    }
    assert_eq!(outcome.stderr.matches("remedy:").count(), 1);
}

#[test]
fn wrong_addresses_and_pids_are_refused() {
    let core = core();
    for (arguments, parts) in [
        (&["maps", "200.0"][..], &["no process 200.0", "`ps`"][..]),
        (&["maps", "17.999"], &["no process 17.999"]),
        (&["maps", "250"], &["slot 250"]),
        (&["maps", "0x7fff0000"], &["no memory at the root 0x7fff0000", "`roots`"]),
        (&["translate", "0x1000"], &["0x1000 is not mapped", "level 4"]),
        (&["translate", "0x800000000000"], &["not canonical"]),
        (&["translate", "0x0", "--pid", "3.0"], &["0x0 is not mapped"]),
        (&["read", "0x7fffff00", "16"], &["no guest memory", "0x7fffff00"]),
        (&["read", "0x400000", "0x100000", "--pid", "3.0"], &["is not mapped"]),
        (&["read", "0", "0xffffffffffff"], &["too many"]),
        (&["frames", "0x7fffff"], &["no frame 0x7fffff"]),
        (&["symbols", "no_such_name"], &["no_such_name"]),
        (&["symbols", "0x1"], &["0x1"]),
        (&["symbols", "--image", "/nonexistent"], &["--image /nonexistent"]),
        (&["symbols", "--image", core.to_str().unwrap()], &["symbol"]),
        (&["ps", "--root", "0x7fff0000"], &["0x7fff0000"]),
    ] {
        refused(&core, arguments, parts);
    }
    for wrong in [&["maps", "x"][..], &["translate", "nonsense"], &["read", "0"], &["nothing"], &[]] {
        assert_eq!(inspect(&core, wrong).status, Some(2), "{wrong:?}");
    }
}

#[test]
fn wrong_files_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    refused(&path("none"), &["ps"], &["none", "cannot be opened"]);
    refused(home.path(), &["ps"], &["no core.elf", "--core"]);
    fs::create_dir(path("vm-00")).unwrap();
    refused(home.path(), &["ps"], &["vm-00"]);
    refused("/dev/zero".as_ref(), &["ps"], &["not a regular file"]);
    let write = |bytes: &[u8]| {
        fs::write(path("file"), bytes).unwrap();
        path("file")
    };
    refused(&write(b""), &["ps"], &["empty"]);
    refused(&write(b"KDUMP   "), &["ps"], &["compressed kdump"]);
    let text = write(b"this is no dump of anything");
    refused(&text, &["ps"], &["publishes no tables", "--root"]);
    refused(&text, &["roots"], &["page tables begin", "--root"]);
    refused(&text, &["maps"], &["--root"]);
    refused(&text, &["maps", "1.0"], &["publishes no tables"]);
    refused(&text, &["read", "20", "20"], &["no guest memory"]);
    refused(&text, &["symbols"], &["not the Matrix", "--image"]);

    let whole = fs::read(core()).unwrap();
    refused(&write(&whole[..whole.len() - 1]), &["ps"], &["cut off", "copy"]);
    refused(&write(&whole[..90]), &["ps"], &["headers are damaged"]);
    refused(&write(&fs::read(tests::architect_path()).unwrap()), &["ps"], &["not a core"]);
    // The info block of a broken guest: it claims an enormous frame table.
    let info = whole.chunks(4096).position(|page| page.starts_with(b"MATRIXKI")).unwrap() * 4096;
    let mut damaged = whole.clone();
    damaged[info + 0x4c..][..8].fill(0xff);
    refused(&write(&damaged), &["ps"], &["tables cannot be read"]);
    let maps = inspect(&path("file"), &["maps"]);
    assert_eq!(maps.status, Some(0), "what needs no tables still works: {maps:?}");
}

/// A core of a kernel other than the Matrix, made by `boot`: paging is off, so there are no tables.
#[test]
fn a_guest_without_page_tables_has_none() {
    let kernel = tests::kernel(|a| {
        a.mov(edx, 0xf4).unwrap();
        a.xor(eax, eax).unwrap();
        a.out(dx, al).unwrap();
    });
    let core = kernel.beside("core");
    let outcome = tests::boot(&kernel, &["--mem", "2", "--core", core.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    refused(&core, &["leaks"], &["publishes no tables"]);
    let read = inspect(&core, &["read", "0x100000", "16"]);
    assert!(read.status == Some(0) && read.stdout.contains("0000000000100000"), "{read:?}");
}
