//! A fault as a scenario has it: keys that are there or not. What they mean together is said by
//! [`super::model::Fault`].

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::choice::{Choice, Name, Number, Scalar, Spot};
use super::draw::Stream;
use super::model::Fault;
use crate::scenario::declare::toml_name;

/// A `[[fault]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FaultKeys {
    /// How likely it is that there is this fault in a run.
    #[serde(default, skip_serializing_if = "Probability::is_certain")]
    pub probability: Probability,
    /// Stands for all choices that are left to the moment when it acts. Resolved scenarios have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<u64>,
    /// The moment.
    pub when: WhenKeys,
    /// The place.
    #[serde(rename = "where", default, skip_serializing_if = "WhereKeys::is_empty")]
    pub place: WhereKeys,
    /// The effect.
    pub what: WhatKeys,
}

/// How likely something is, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability(f64);

/// It is never NaN.
impl Eq for Probability {}

impl Default for Probability {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Probability {
    fn is_certain(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for Probability {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(from)?;
        match (0.0..=1.0).contains(&value) {
            true => Ok(Self(value)),
            false => Err(D::Error::custom(format!("{value} is no probability: a number from 0.0 to 1.0"))),
        }
    }
}

macro_rules! keys {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $key_doc:literal])+ $key:ident: $type:ty,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct $name {
            $($(#[doc = $key_doc])+ #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$type>,)+
        }

        impl $name {
            /// The names of the keys, as Rust writes them, and what they mean.
            pub const DOCS: &[(&str, &str)] = &[$((stringify!($key), concat!($($key_doc,)+)),)+];

            /// Whether no key is given.
            pub fn is_empty(&self) -> bool {
                $(self.$key.is_none())&&+
            }

            /// The keys that are given, by their names.
            pub fn given(&self) -> Vec<String> {
                let all = [$((stringify!($key), self.$key.is_some()),)+];
                let given = all.into_iter().filter(|(_, given)| *given);
                given.map(|(name, _)| toml_name(name)).collect()
            }

            fn fix(&self, stream: &mut Stream) -> Self {
                Self { $($key: self.$key.as_ref().map(|key| key.drawn(stream)),)+ }
            }
        }
    };
}

/// What can be drawn, or holds what can be drawn.
trait Drawn {
    fn drawn(&self, stream: &mut Stream) -> Self;
}

impl<T: Scalar> Drawn for Choice<T> {
    fn drawn(&self, stream: &mut Stream) -> Self {
        self.fix(stream)
    }
}

impl Drawn for bool {
    fn drawn(&self, _: &mut Stream) -> Self {
        *self
    }
}

impl Drawn for WhereKeys {
    fn drawn(&self, stream: &mut Stream) -> Self {
        self.fix(stream)
    }
}

keys! {
    /// The moment: one of `tick`, `event`, `symbol`, `line`, `code`, `changed`, `beat`.
    WhenKeys {
        /// At this tick.
        tick: Choice<Number>,
        /// After an event of this kind.
        event: Choice<String>,
        /// At which occurrence of it, from 1; 1 if not given.
        nth: Choice<Number>,
        /// With `event`: count only events of this process.
        process: Choice<Name>,
        /// When this function of the kernel is entered.
        symbol: Choice<String>,
        /// When this line of the kernel's source is reached, `file:line`.
        line: Choice<String>,
        /// When the instruction at this address is reached.
        code: Choice<Number>,
        /// When what is in this place is not what it was.
        changed: WhereKeys,
        /// When this beat is reached.
        beat: Choice<String>,
    }
}

keys! {
    /// The place: one of `register`, `physical`, `frame`, `virtual`, `page-table`, `descriptor`, `message`, `device`, or
    /// `process` alone.
    WhereKeys {
        /// A register by its name: as saved of `process`, or the processor's own.
        register: Choice<String>,
        /// Guest-physical memory.
        physical: Choice<Number>,
        /// A frame of this kind.
        frame: Choice<String>,
        /// Memory of `process`.
        r#virtual: Choice<Spot>,
        /// The entry of the page table of `process` for this address.
        page_table: Choice<Spot>,
        /// The level of that entry; 1 if not given.
        level: Choice<Number>,
        /// A field of the descriptor of `process`.
        descriptor: Choice<String>,
        /// A message: `loan` or `datagram`.
        message: Choice<String>,
        /// A device: `timer`, `watchdog`, `serial` or `memory`.
        device: Choice<String>,
        /// Whose.
        process: Choice<Name>,
    }
}

keys! {
    /// The effect: one of all but `bit` and `ticks`.
    WhatKeys {
        /// Number of bits to invert.
        flip: Choice<Number>,
        /// A bit is held at this value.
        stuck_at: Choice<Number>,
        /// Which bit, from 0; drawn if not given.
        bit: Choice<Number>,
        /// For how many ticks; to the end if not given.
        ticks: Choice<Number>,
        /// The entry changes places with another one.
        swap: bool,
        /// Number of datagrams, bytes or watchdog pets to lose.
        drop: Choice<Number>,
        /// Number of ticks by which the next datagram is late.
        delay: Choice<Number>,
        /// Number of datagrams or bytes to deliver twice.
        duplicate: Choice<Number>,
        /// The process is ended.
        kill: bool,
        /// Number of ticks during which the guest is stopped while time goes on.
        pause: Choice<Number>,
        /// A non-maskable interrupt.
        nmi: bool,
        /// Number of timer interrupts to lose.
        lost: Choice<Number>,
        /// Number of timer interrupts to raise without a cause, one a tick.
        spurious: Choice<Number>,
        /// Number of free frames to withhold from the kernel.
        withhold: Choice<Number>,
    }
}

impl FaultKeys {
    /// The fault with each of the instructions that it may wait for.
    pub fn codes(&self) -> Vec<Fault> {
        fn each<T: Scalar>(choice: Option<&Choice<T>>) -> Vec<Choice<T>> {
            choice
                .map(|choice| choice.ends().iter().cloned().map(Choice::Fixed).collect())
                .unwrap_or_default()
        }
        let when = &self.when;
        let symbols = each(when.symbol.as_ref())
            .into_iter()
            .map(|symbol| WhenKeys { symbol: Some(symbol), ..when.clone() });
        let lines =
            each(when.line.as_ref()).into_iter().map(|line| WhenKeys { line: Some(line), ..when.clone() });
        let codes =
            each(when.code.as_ref()).into_iter().map(|code| WhenKeys { code: Some(code), ..when.clone() });
        let all = symbols.chain(lines).chain(codes).map(|when| Self { when, ..self.clone() });
        all.filter_map(|keys| Fault::of(&keys).ok()).collect()
    }

    /// The labels by which it names processes, each with its key.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let changed = self.when.changed.as_ref().and_then(|place| place.process.as_ref());
        let all = [
            ("when.process", self.when.process.as_ref()),
            ("when.changed.process", changed),
            ("where.process", self.place.process.as_ref()),
        ];
        let names = all
            .into_iter()
            .flat_map(|(key, name)| name.into_iter().flat_map(Choice::ends).map(move |name| (key, name)));
        names.filter_map(|(key, name)| match name {
            Name::Word(word) if word != "any" && !word.contains('.') => Some((key, word.as_str())),
            _ => None,
        })
    }

    /// The fault with nothing left open but what is there when it acts; `None` if there is none in this run. `place` is
    /// where it stands in the scenario.
    pub fn resolve(&self, seed: u64, run: u64, place: u64) -> Option<Self> {
        let mut stream = Stream::of_keys(seed, run, place);
        if !stream.happens(self.probability.0) {
            return None;
        }
        Some(Self {
            probability: Probability::default(),
            draw: Some(self.draw.unwrap_or_else(|| Stream::live_seed(seed, run, place))),
            when: self.when.fix(&mut stream),
            place: self.place.fix(&mut stream),
            what: self.what.fix(&mut stream),
        })
    }
}
