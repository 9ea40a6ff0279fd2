//! Scenarios that are wrong, each in one way: what is told of them, and where.

use super::*;

/// Text, and what the message must have in it.
const MISTAKES: &[(&str, &[&str])] = &[
    ("name = ", &["line 1, column 8"]),
    ("seed = 1", &["line 1", "name"]),
    ("name = \"x\"\nseed = -1", &["line 2, column 8", "key seed", "-1"]),
    ("name = \"x\"\n[vm]\nmemory = 8", &["line 3, column 1", "key vm.memory", "memory-mib"]),
    ("name = \"x\"\n[vm]\nmemory-mib = \"8\"", &["line 3, column 14", "key vm.memory-mib", "u32"]),
    ("name = \"x\"\n[vm]\nclock = \"sundial\"", &["line 3, column 9", "key vm.clock", "sundial"]),
    ("name = \"x\"\n[vm]\nmemory-mib = 1", &["line 3, column 14", "key vm.memory-mib", "3 to 1024"]),
    ("name = \"x\"\nvm.vms = 0", &["line 2, column 10", "key vm.vms", "1 to 256"]),
    ("name = \"x\"\n[watchdog]\nfirst = \"explode\"", &["line 3, column 9", "key watchdog.first", "explode"]),
    (
        "name = \"x\"\n[expect]\nbeats = [\"no-such\"]",
        &["line 3, column 10", "key expect.beats[0]", "no-such"],
    ),
    ("name = \"x\"\n[expect]\noutcome = \"fine\"", &["line 3, column 11", "key expect.outcome", "masked"]),
    ("name = \"x\"\n[load]\nmessage-pages = 5", &["line 3, column 17", "key load.message-pages", "1 to 4"]),
    ("name = \"x\"\n[monitor]\nperiod = 3", &["line 3, column 1", "key monitor.period", "period-ticks"]),
    ("name = \"x\"\n[monitor]\nperiod-ticks = 0", &["line 3, column 16", "key monitor.period-ticks", "1 to"]),
    ("name = \"x\"\n[fixes]\neverything = true", &["line 3, column 1", "key fixes.everything", "priorities"]),
    ("name = \"x\"\n[fixes]\npager = 1", &["line 3, column 9", "key fixes.pager", "boolean"]),
    (
        "name = \"x\"\n[[program]]\nprogram = \"a b\"",
        &["line 3, column 11", "key program[0].program", "letters"],
    ),
    (
        "name = \"x\"\n[[program]]\nprogram = \"p\"\n[[program]]\nprogram = \"p\"\nports = [1, 2]",
        &["line 6, column 9", "key program[1].ports", "one port"],
    ),
    (
        "name = \"x\"\n[[program]]\nprogram = \"p\"\nspeed = 1",
        &["line 4, column 1", "key program[0].speed", "priority"],
    ),
    (
        "name = \"x\"\n[[program]]\nprogram = \"p\"\npriority = 8",
        &["line 4, column 12", "key program[0].priority", "0 to 7"],
    ),
    ("name = \"x\"\nname = \"y\"", &["line 2, column 1", "key name", "duplicate"]),
    ("name = \"x\"\n[[fault]]\nwhat = { nmi = true }", &["line 2", "key fault", "when"]),
    ("name = \"x\"\n[[fault]]\nwhen = { tick = 1 }", &["line 2", "key fault", "what"]),
    (
        "name = \"x\"\n[[fault]]\nwhen = {  }\nwhat = { nmi = true }\n",
        &["line 3, column 8", "key fault[0].when", "give one of tick, event"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1, beat = \"leak\" }\nwhat = { nmi = true }\n",
        &["line 3, column 8", "key fault[0].when", "`tick` and `beat`"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 0 }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.tick", "1 to"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = \"soon\" }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.tick", "whole number"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = { uniform = [9, 3] } }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.tick", "not above"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = { uniform = [0, 3] } }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.tick", "0 is out of range"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = { one-of = [] } }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.tick", "nothing to draw"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = { normal = [1, 2] } }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.tick", "`normal`"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { ticks = 1 }\nwhat = { nmi = true }\n",
        &["line 3, column 10", "key fault[0].when.ticks", "tick"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { event = \"sneeze\" }\nwhat = { nmi = true }\n",
        &["line 3, column 18", "key fault[0].when.event", "no event `sneeze`", "lend"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { event = \"lend\", nth = 0 }\nwhat = { nmi = true }\n",
        &["line 3, column 32", "key fault[0].when.nth", "1 to"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1, nth = 2 }\nwhat = { nmi = true }\n",
        &["line 3, column 26", "key fault[0].when.nth", "nothing to count"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1, process = \"p\" }\nwhat = { nmi = true }\n",
        &["line 3, column 30", "key fault[0].when.process", "use it with event"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { event = \"lend\", process = \"a b\" }\nwhat = { nmi = true }\n",
        &["line 3, column 36", "key fault[0].when.process", "names no process"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { event = \"lend\", process = 64 }\nwhat = { nmi = true }\n",
        &["line 3, column 36", "key fault[0].when.process", "names no process"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { beat = \"fun\" }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.beat", "no beat `fun`", "two-left"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { line = \"pager.rs\" }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.line", "a file and a line"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { code = 0x400000 }\nwhat = { nmi = true }\n",
        &["line 3, column 17", "key fault[0].when.code", "out of range"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { changed = { register = \"rax\" } }\nwhat = { nmi = true }\n",
        &["line 3, column 20", "key fault[0].when.changed", "a certain word"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { changed = { virtual = \"any\", process = \"p\" } }\nwhat = { nmi = true }\n",
        &["line 3, column 20", "key fault[0].when.changed", "a certain word"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { physical = 0, frame = \"user\" }\nwhat = { flip = 1 }\n",
        &["line 4, column 9", "key fault[0].where", "`physical` and `frame`"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { register = \"cr3\" }\nwhat = { flip = 1 }\n",
        &["line 4, column 22", "key fault[0].where.register", "no register `cr3`", "rflags"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { frame = \"attic\" }\nwhat = { flip = 1 }\n",
        &["line 4, column 19", "key fault[0].where.frame", "no kind of frame", "page-table"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { virtual = 0x800000 }\nwhat = { flip = 1 }\n",
        &["line 4, column 9", "key fault[0].where", "whose is not said"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { virtual = 0xa00000, process = \"p\" }\nwhat = { flip = 1 }\n",
        &["line 4, column 21", "key fault[0].where.virtual", "below 0xa00000"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { page-table = \"any\", process = \"p\", level = 5 }\nwhat = { flip = 1 }\n",
        &["line 4, column 54", "key fault[0].where.level", "1 to 4"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { virtual = 0x800000, process = \"p\", level = 1 }\nwhat = { flip = 1 }\n",
        &["line 4, column 54", "key fault[0].where.level", "page-table"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { descriptor = \"soul\", process = \"p\" }\nwhat = { flip = 1 }\n",
        &["line 4, column 24", "key fault[0].where.descriptor", "no field `soul`", "uid"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { message = \"letter\" }\nwhat = { flip = 1 }\n",
        &["line 4, column 21", "key fault[0].where.message", "loan, datagram"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { device = \"mouse\" }\nwhat = { drop = 1 }\n",
        &["line 4, column 20", "key fault[0].where.device", "watchdog"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { device = \"timer\", process = \"p\" }\nwhat = { lost = 1 }\n",
        &["line 4, column 39", "key fault[0].where.process", "nobody's"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { message = \"datagram\", process = \"p\" }\nwhat = { drop = 1 }\n",
        &["line 4, column 43", "key fault[0].where.process", "nobody's"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = {  }\n",
        &["line 4, column 8", "key fault[0].what", "give one of flip"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { nmi = true, kill = true }\n",
        &["line 4, column 8", "key fault[0].what", "`kill` and `nmi`"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { explode = true }\n",
        &["line 4, column 10", "key fault[0].what.explode", "flip"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { nmi = false }\n",
        &["line 4, column 16", "key fault[0].what.nmi", "write true"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { flip = 1 }\n",
        &["line 4, column 8", "key fault[0].what", "no bits to invert"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { physical = 0 }\nwhat = { flip = 65 }\n",
        &["line 5, column 17", "key fault[0].what.flip", "1 to 64"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { physical = 0 }\nwhat = { flip = 2, bit = 1 }\n",
        &["line 5, column 26", "key fault[0].what.bit", "flip = 1"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { descriptor = \"state\", process = \"p\" }\nwhat = { flip = 1, bit = 8 }\n",
        &["line 5, column 26", "key fault[0].what.bit", "0 to 7"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { physical = 0 }\nwhat = { stuck-at = 2 }\n",
        &["line 5, column 21", "key fault[0].what.stuck-at", "0 to 1"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { register = \"rax\" }\nwhat = { stuck-at = 1 }\n",
        &["line 5, column 8", "key fault[0].what", "cannot be held"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { physical = 0 }\nwhat = { swap = true }\n",
        &["line 5, column 8", "key fault[0].what", "change places"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { message = \"loan\" }\nwhat = { drop = 1 }\n",
        &["line 5, column 8", "key fault[0].what", "not on its way"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { device = \"timer\" }\nwhat = { delay = 1 }\n",
        &["line 5, column 8", "key fault[0].what", "use lost"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { device = \"watchdog\" }\nwhat = { duplicate = 1 }\n",
        &["line 5, column 8", "key fault[0].what", "come twice"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { kill = true }\n",
        &["line 4, column 8", "key fault[0].what", "process"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { process = \"p\" }\nwhat = { pause = 5 }\n",
        &["line 5, column 8", "key fault[0].what", "leave `where` out"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { process = \"p\" }\nwhat = { nmi = true }\n",
        &["line 5, column 8", "key fault[0].what", "processor"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhere = { device = \"serial\" }\nwhat = { lost = 5 }\n",
        &["line 5, column 8", "key fault[0].what", "timer"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { withhold = 5 }\n",
        &["line 4, column 8", "key fault[0].what", "device = \"memory\""],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { pause = 5, ticks = 3 }\n",
        &["line 4, column 29", "key fault[0].what.ticks", "does not last"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { pause = 5, bit = 3 }\n",
        &["line 4, column 27", "key fault[0].what.bit", "on no bit"],
    ),
    (
        "name = \"x\"\n[[fault]]\nprobability = 1.5\nwhen = { tick = 1 }\nwhat = { nmi = true }\n",
        &["line 3, column 15", "key fault[0].probability", "0.0 to 1.0"],
    ),
    (
        "name = \"x\"\n[[fault]]\nlikelihood = 1\nwhen = { tick = 1 }\nwhat = { nmi = true }\n",
        &["line 3, column 1", "key fault[0].likelihood", "probability"],
    ),
    (
        "name = \"x\"\n[[fault]]\nwhen = { tick = 1 }\nwhat = { nmi = true }\n[vm]\nclock = \"apic\"",
        &["line 6, column 9", "key vm.clock", "leave the clock"],
    ),
    ("name = \"x\"\n[sweep]\nfixes.pager = true", &["line 2", "key sweep", "must be a list"]),
    ("name = \"x\"\n[sweep]\nfixes.pager = []", &["line 2", "key sweep", "no values"]),
    (
        "name = \"x\"\n[sweep]\nfixes.pgaer = [true]",
        &["line 3, column 16", "key sweep.fixes.pgaer[0]", "priorities"],
    ),
    (
        "name = \"x\"\n[sweep]\nfixes.pager = [true, 7]",
        &["line 3, column 22", "key sweep.fixes.pager[1]", "boolean"],
    ),
    (
        "name = \"x\"\n[sweep]\nload.people = [1, 999]",
        &["line 3, column 19", "key sweep.load.people[1]", "0 to 200"],
    ),
    (
        "name = \"x\"\n[sweep]\nload.people = [1, 1]",
        &["line 3, column 19", "key sweep.load.people[1]", "already"],
    ),
    ("name = \"x\"\n[sweep]\nseed = [1, 2]", &["line 3, column 8", "key sweep.seed", "varies the seed"]),
    (
        "name = \"x\"\n[sweep]\nload.people = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99]\nload.requests = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100]",
        &["line 2", "key sweep", "10000 combinations"],
    ),
];

#[test]
fn every_mistake_is_told_with_file_line_column_key_and_remedy() {
    let mut failed = Vec::new();
    for (text, parts) in MISTAKES {
        let error = match Scenario::parse(text, "test.toml", None, &[]) {
            Ok(scenario) => panic!("{text}: this is right: {scenario:?}"),
            Err(error) => error,
        };
        assert_eq!(error.exit_status(), 2, "{text}");
        let message = error.to_string();
        // What is missing has no place but the whole file.
        let key = if text.starts_with("name = \"") { "key " } else { "" };
        for part in ["test.toml, line ", "column ", "remedy: ", key].iter().chain(*parts) {
            if !message.contains(part) {
                failed.push(format!("{text}\nhas no {part:?}:\n{message}\n"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(MISTAKES.len() >= 40);
}

#[test]
fn what_the_command_line_puts_in_is_told_as_such() {
    for (key, value, part) in [
        ("vm.memory-mib", "1", "3 to 1024"),
        ("fault", "[{ when = { tick = 0 }, what = { nmi = true } }]", "1 to"),
        ("sweep.load.people", "[999]", "0 to 200"),
    ] {
        let sets = [(key.to_owned(), value.to_owned())];
        let message = Scenario::parse("name = \"x\"", "test.toml", None, &sets).unwrap_err().to_string();
        assert!(message.contains(&format!("--set {key}={value}")) && message.contains(part), "{message}");
    }
}
