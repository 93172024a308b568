//! Large messages that are written from their parts without being built.

use crate::table::{self, Field};
use crate::{Message, json};
use std::borrow::Cow;
use std::io::{self, Write};

/// Protobuf's wire type of messages.
const LENGTH_DELIMITED: u32 = 2;

/// A message whose lists are written item by item. In JSON its lists are there even when they are empty.
pub struct Tree<'a> {
    message: &'static table::Message,
    /// Fields of this message that are neither lists nor trees.
    fields: Fields,
    parts: Vec<(&'static Field, Part<'a>)>,
}

#[derive(Default)]
struct Fields {
    protobuf: Vec<u8>,
    /// Members of an object, without its braces.
    json: Vec<u8>,
}

enum Part<'a> {
    List(Box<dyn List + 'a>),
    Tree(Tree<'a>),
}

/// Items of a list.
trait List {
    /// Bytes of each item.
    fn lengths(&self) -> Box<dyn Iterator<Item = usize> + '_>;
    fn protobuf(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_>;
    fn json(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_>;
}

impl<M: Message> List for Vec<Cow<'_, M>> {
    fn lengths(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        Box::new(self.iter().map(|item| item.length()))
    }

    fn protobuf(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        Box::new(self.iter().map(|item| item.to_bytes()))
    }

    fn json(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        Box::new(self.iter().map(|item| json::to_vec(&**item)))
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What stands before the bytes of a message in a field.
fn head(field: &Field, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    varint(u64::from(field.number << 3 | LENGTH_DELIMITED), &mut out);
    varint(length as u64, &mut out);
    out
}

impl std::fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("message", &self.message.name).finish_non_exhaustive()
    }
}

impl<'a> Tree<'a> {
    /// A message of this type without anything in it.
    #[must_use]
    pub fn of<M: Message>() -> Self {
        Self { message: table::Message::of::<M>(), fields: Fields::default(), parts: Vec::new() }
    }

    /// A message of this type, with fields besides those that are added.
    #[must_use]
    pub fn with<M: Message>(fields: &M) -> Self {
        let text = json::to_vec(fields);
        let json = text[1..text.len() - 1].to_vec();
        Self { fields: Fields { protobuf: fields.to_bytes(), json }, ..Self::of::<M>() }
    }

    fn add(mut self, name: &str, part: Part<'a>) -> Self {
        let found = self.message.fields.iter().find(|field| field.name == name);
        let field = found.unwrap_or_else(|| panic!("{} has no field {name}", self.message.name));
        self.parts.push((field, part));
        self
    }

    /// Adds a list of messages.
    ///
    /// # Panics
    /// When the message has no such field.
    #[must_use]
    pub fn list<M: Message + 'a>(
        self,
        name: &str,
        items: impl IntoIterator<Item = Cow<'a, M>>,
    ) -> Self {
        let items: Vec<Cow<'a, M>> = items.into_iter().collect();
        self.add(name, Part::List(Box::new(items)))
    }

    /// Adds a message.
    ///
    /// # Panics
    /// When the message has no such field.
    #[must_use]
    pub fn tree(self, name: &str, tree: Tree<'a>) -> Self {
        self.add(name, Part::Tree(tree))
    }

    /// Bytes of it in protobuf.
    #[must_use]
    pub fn length(&self) -> usize {
        let framed = |field, length| head(field, length).len() + length;
        let part = |(field, part): &(&'static Field, Part<'a>)| match part {
            Part::List(list) => list.lengths().map(|length| framed(field, length)).sum(),
            Part::Tree(tree) => framed(field, tree.length()),
        };
        self.fields.protobuf.len() + self.parts.iter().map(part).sum::<usize>()
    }

    /// Writes it in protobuf.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_protobuf(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.fields.protobuf)?;
        for (field, part) in &self.parts {
            match part {
                Part::List(list) => {
                    for item in list.protobuf() {
                        out.write_all(&head(field, item.len()))?;
                        out.write_all(&item)?;
                    }
                }
                Part::Tree(tree) => {
                    out.write_all(&head(field, tree.length()))?;
                    tree.write_protobuf(out)?;
                }
            }
        }
        Ok(())
    }

    /// Writes it in Mesos' JSON.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"{")?;
        out.write_all(&self.fields.json)?;
        let mut comma: &[u8] = if self.fields.json.is_empty() { b"" } else { b"," };
        for (field, part) in &self.parts {
            out.write_all(comma)?;
            comma = b",";
            write!(out, "\"{}\":", field.name)?;
            match part {
                Part::List(list) => {
                    let mut before: &[u8] = b"[";
                    for item in list.json() {
                        out.write_all(before)?;
                        before = b",";
                        out.write_all(&item)?;
                    }
                    out.write_all(if before == b"[" { b"[]" } else { b"]" })?;
                }
                Part::Tree(tree) => tree.write_json(out)?,
            }
        }
        out.write_all(b"}")
    }
}
