//! How processes, rights and frames are called in answers.

use abi::frame::FrameKind;
use abi::{Frame, Pid};
use introspect::matrix::Guest;
use introspect::matrix::space::pid as process_of;
use introspect::x86::walk::Why;
use introspect::x86::{Rights, Space};
use serde_json::{Value, json};

/// The label of a process; none if nobody has this pid.
pub(super) fn label(guest: Option<&Guest>, pid: Pid) -> Option<String> {
    guest?.process(pid).map(|process| process.descriptor.label().collect())
}

/// Somebody's pid as a cell or a value: none for nobody.
pub(super) fn pid(pid: Pid) -> Option<String> {
    (pid != Pid::NONE).then(|| pid.to_string())
}

/// `17.1 client`; `kernel` for the kernel's own address space; a root that the guest does not name by its address.
pub(super) fn space(guest: Option<&Guest>, space: Space) -> String {
    let process = process_of(space.id);
    match (pid(process), label(guest, process)) {
        (Some(pid), Some(label)) => format!("{pid} {label}"),
        (Some(pid), None) => pid,
        (None, _) if guest.is_some_and(|guest| guest.info.kernel_root == space.root) => "kernel".into(),
        (None, _) => format!("root {}", space.root),
    }
}

/// An address space as a value.
pub(super) fn space_json(guest: Option<&Guest>, space: Space) -> Value {
    let process = process_of(space.id);
    json!({"pid": pid(process), "name": label(guest, process), "root": space.root.to_string()})
}

/// Rights as a value.
pub(super) fn rights_json(rights: Rights) -> Value {
    json!({"write": rights.write, "execute": rights.execute, "user": rights.user})
}

/// What the frame table has a frame down as: `user of 17.1 client`.
pub(super) fn fact(guest: &Guest, frame: Frame) -> String {
    let Some(fact) = guest.fact(frame) else { return "not in the frame table".into() };
    let kind = FrameKind::from_raw(fact.kind).map_or("unknown", FrameKind::name);
    match (pid(fact.owner), label(Some(guest), fact.owner)) {
        (Some(pid), Some(label)) => format!("{kind} of {pid} {label}"),
        (Some(pid), None) => format!("{kind} of {pid}"),
        (None, _) => kind.into(),
    }
}

/// The same as a value; null for a frame that the table does not reach.
pub(super) fn fact_json(guest: &Guest, frame: Frame) -> Value {
    guest.fact(frame).map_or(Value::Null, |fact| {
        json!({
            "kind": FrameKind::from_raw(fact.kind).map(FrameKind::name),
            "owner": pid(fact.owner),
            "owner_name": label(Some(guest), fact.owner),
        })
    })
}

/// Why an entry maps nothing.
pub(super) fn why(why: Why) -> &'static str {
    match why {
        Why::Absent => "the entry is not present",
        Why::Reserved => "the entry has a reserved bit set",
        Why::TableOutside => "the entry leads to a table outside of memory",
        Why::PageOutside => "the entry maps a page outside of memory",
        Why::RootOutside => "the root is not in memory",
        Why::NotCanonical => "the address is not canonical",
    }
}
