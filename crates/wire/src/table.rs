//! The static table of all messages: names, numbers, types, labels and defaults.

use crate::DecodeError;

/// Deepest nesting of messages that is accepted.
pub(crate) const DEPTH_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// Entry of a map: key and value.
    pub(crate) is_map: bool,
    /// Inside it, at any depth, is a map whose values have required fields.
    pub(crate) fill_maps: bool,
    /// In the order of the .proto file.
    pub(crate) fields: &'static [Field],
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) label: Label,
    /// Explicit default as JSON text, unless the field is deprecated.
    pub(crate) default: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Double,
    Int64,
    Uint64,
    Int32,
    Uint32,
    Bool,
    String,
    Bytes,
    Enum(usize),
    Message(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Optional,
    Required,
    Repeated,
}

#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) name: &'static str,
    pub(crate) values: &'static [(&'static str, i32)],
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

impl Message {
    pub(crate) fn of<M: crate::Message>() -> &'static Message {
        &MESSAGES[M::TABLE]
    }

    fn named(name: &str) -> Option<&'static Message> {
        MESSAGES.binary_search_by(|m| m.name.cmp(name)).ok().map(|at| &MESSAGES[at])
    }

    /// Position among the fields of the field with a number.
    pub(crate) fn position(&self, number: u32) -> Option<usize> {
        // Mostly they are numbered from one on without gaps.
        let likely = (number as usize).wrapping_sub(1);
        if self.fields.get(likely).is_some_and(|f| f.number == number) {
            return Some(likely);
        }
        self.fields.iter().position(|f| f.number == number)
    }
}

impl Field {
    /// The entry message, if the field is a map.
    pub(crate) fn map_entry(&self) -> Option<&'static Message> {
        match self.kind {
            Kind::Message(at) => Some(&MESSAGES[at]).filter(|m| m.is_map),
            _ => None,
        }
    }
}

impl Enum {
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
    }

    pub(crate) fn name_of(&self, number: i32) -> Option<&'static str> {
        let named = |(name, n): &(&'static str, i32)| (*n == number).then_some(*name);
        // Mostly they are numbered from zero or one on without gaps.
        let likely = usize::try_from(number).unwrap_or(usize::MAX);
        let near =
            [likely, likely.wrapping_sub(1)].into_iter().filter_map(|at| self.values.get(at));
        near.chain(self.values).find_map(named)
    }
}

/// What is known about a field; for tests and for generated documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// Name on the wire.
    pub name: &'static str,
    /// Number on the wire.
    pub number: u32,
    /// `string`, `uint64`, …, or the full name of a message or enum.
    pub kind: String,
    /// `optional`, `required` or `repeated`.
    pub label: &'static str,
}

/// Names and numbers of an enum's values, by its full name.
#[must_use]
pub fn enum_values(name: &str) -> Option<&'static [(&'static str, i32)]> {
    ENUMS.binary_search_by(|e| e.name.cmp(name)).ok().map(|at| ENUMS[at].values)
}

/// Full names of all messages.
pub fn message_names() -> impl Iterator<Item = &'static str> {
    MESSAGES.iter().filter(|m| !m.is_map).map(|m| m.name)
}

/// The fields of a message by its full name.
///
/// # Errors
/// When there is no such message.
pub fn schema(name: &str) -> Result<Vec<FieldInfo>, DecodeError> {
    let message =
        Message::named(name).ok_or_else(|| DecodeError::new(format!("no message {name}")))?;
    let kind = |kind: Kind| match kind {
        Kind::Enum(at) => ENUMS[at].name.to_owned(),
        Kind::Message(at) => MESSAGES[at].name.to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let label = |label: Label| match label {
        Label::Optional => "optional",
        Label::Required => "required",
        Label::Repeated => "repeated",
    };
    let info = |f: &Field| FieldInfo {
        name: f.name,
        number: f.number,
        kind: kind(f.kind),
        label: label(f.label),
    };
    Ok(message.fields.iter().map(info).collect())
}
