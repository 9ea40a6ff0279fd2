//! Values that may be drawn: each possibility must be a good one.

use abi::Pid;

use super::limits::Checked;
use crate::scenario::fault::choice::{Choice, Name, Number, Scalar};
use crate::scenario::fault::model::{Mistake, Who};

pub(super) fn one_of(key: &str, given: &[&String], all: &str) -> Mistake {
    let what = match given {
        [] => "nothing is said here".to_owned(),
        [one] => format!("`{one}` alone says nothing"),
        [one, other, ..] => format!("`{one}` and `{other}` do not go together"),
    };
    Mistake::new(key, what, format!("give one of {all}"))
}

/// The first possibility.
pub(super) fn first<T: Scalar>(choice: &Choice<T>) -> Checked<&T> {
    choice.ends().first().ok_or_else(|| Mistake::new("", "nothing to draw from", "give a value"))
}

pub(super) fn number(key: &str, choice: &Choice<Number>, from: u64, to: u64) -> Checked<u64> {
    match choice.ends().iter().find(|number| !(from..=to).contains(&number.0)) {
        None => first(choice).map(|number| number.0),
        Some(wrong) => {
            let remedy = format!("give a number from {from} to {to}");
            Err(Mistake::new(key, format!("{} is out of range", wrong.0), remedy))
        }
    }
}

pub(super) fn words<T>(
    key: &str,
    choice: &Choice<String>,
    kind: &str,
    known: impl Fn(&str) -> Option<T>,
    names: impl Fn() -> String,
) -> Checked<T> {
    for word in choice.ends() {
        if known(word).is_none() {
            return Err(Mistake::new(
                key,
                format!("there is no {kind} `{word}`"),
                format!("give one of: {}", names()),
            ));
        }
    }
    let word = first(choice)?;
    known(word).ok_or_else(|| Mistake::new(key, "unknown", names()))
}

pub(super) fn who(key: &str, choice: &Choice<Name>) -> Checked<Who> {
    let known = |name: &Name| match name {
        Name::Service(place) if *place < abi::service::SERVICE_SLOTS as u64 => {
            Some(Who::Service(*place as u32))
        }
        Name::Service(_) => None,
        Name::Word(word) if word == "any" => Some(Who::Any),
        Name::Word(word) => match word.split_once('.') {
            Some((slot, generation)) => {
                let (slot, generation) = (slot.parse::<u16>().ok()?, generation.parse().ok()?);
                Some(Who::Pid(Pid::new(slot.into(), generation)))
            }
            None => {
                let good = (1..=16).contains(&word.len())
                    && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                good.then(|| Who::Label(word.clone()))
            }
        },
    };
    for name in choice.ends() {
        if known(name).is_none() {
            let shown = match name {
                Name::Word(word) => word.clone(),
                Name::Service(number) => number.to_string(),
            };
            return Err(Mistake::new(
                key,
                format!("`{shown}` names no process"),
                format!("give {}", Name::WANTED),
            ));
        }
    }
    known(first(choice)?).ok_or_else(|| Mistake::new(key, "names no process", "give a process"))
}
