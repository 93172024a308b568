//! Compiles the .proto files without a system protoc: prost structs, a table of all messages and enums from which JSON
//! and the required-field check work, and the list of all messages.

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

const FILES: [&str; 10] = [
    "mesos/v1/mesos.proto",
    "mesos/v1/scheduler.proto",
    "mesos/v1/executor.proto",
    "mesos/v1/master.proto",
    "mesos/v1/agent.proto",
    "mesos/v1/allocator.proto",
    "mesos/v1/quota.proto",
    "mesos/v1/maintenance.proto",
    "mesos/v1/resource_provider.proto",
    "proffer/internal.proto",
];

/// Large messages inside of messages of which there are many, that most of these do not have.
const BOXED: [&str; 4] = [
    ".mesos.v1.Resource.disk",
    ".mesos.v1.Task.container",
    ".mesos.v1.Task.discovery",
    ".mesos.v1.Task.health_check",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let names = Names::of(&files);
    std::fs::write(out.join("tables.rs"), tables(&names))?;
    std::fs::write(out.join("each_message.rs"), each_message(&names))?;
    std::fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    files.file.iter_mut().flat_map(|f| &mut f.message_type).for_each(allow_deprecated);
    let mut config = prost_build::Config::new();
    for path in BOXED {
        config.boxed(path);
    }
    config
        .btree_map(["."])
        .compile_well_known_types()
        .enable_type_names()
        .include_file("packages.rs")
        .out_dir(&out)
        .compile_fds(files)?;
    Ok(())
}

/// Deprecated fields are part of the interface; using them shall not warn.
fn allow_deprecated(message: &mut DescriptorProto) {
    message.field.iter_mut().for_each(|field| field.options = None);
    message.enum_type.iter_mut().flat_map(|e| &mut e.value).for_each(|value| value.options = None);
    message.nested_type.iter_mut().for_each(allow_deprecated);
}

/// All messages and enums of a set of files by their full name (`.mesos.v1.TaskInfo`).
#[derive(Default)]
struct Names {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, EnumDescriptorProto>,
}

impl Names {
    fn of(files: &FileDescriptorSet) -> Self {
        let mut names = Self::default();
        for file in &files.file {
            let prefix = format!(".{}", file.package());
            for message in &file.message_type {
                names.add(&prefix, message);
            }
            for item in &file.enum_type {
                names.enums.insert(format!("{prefix}.{}", item.name()), item.clone());
            }
        }
        names
    }

    fn add(&mut self, prefix: &str, message: &DescriptorProto) {
        let name = format!("{prefix}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested);
        }
        for nested in &message.enum_type {
            self.enums.insert(format!("{name}.{}", nested.name()), nested.clone());
        }
        self.messages.insert(name, message.clone());
    }

    /// Messages inside of which, at any depth, is a map whose values have required fields.
    fn with_maps_to_fill(&self) -> BTreeSet<&str> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        loop {
            let before = found.len();
            for (name, message) in &self.messages {
                let of_entry = |field: &FieldDescriptorProto| {
                    let has_required =
                        |m: &DescriptorProto| m.field.iter().any(|f| f.label() == Label::Required);
                    is_map(message)
                        && self.messages.get(field.type_name()).is_some_and(has_required)
                };
                let to_fill =
                    |f: &FieldDescriptorProto| found.contains(f.type_name()) || of_entry(f);
                if message.field.iter().any(to_fill) {
                    found.insert(name);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

fn is_map(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|o| o.map_entry())
}

/// A call of the macro `each_message` with the full name, the position in the table and the Rust path of every
/// message.
fn each_message(names: &Names) -> String {
    let mut text = String::from("each_message! {\n");
    for (at, (name, message)) in names.messages.iter().enumerate() {
        if !is_map(message) {
            writeln!(text, "{at} {},", rust_path(&name[1..])).expect("text");
        }
    }
    text.push_str("}\n");
    text
}

/// Where prost puts a message: packages and outer messages are modules in snake case.
fn rust_path(name: &str) -> String {
    let (outer, last) = name.rsplit_once('.').expect("every message has a package");
    let modules: Vec<String> = outer.split('.').map(|m| m.to_snake_case()).collect();
    let path = format!("{}::{}", modules.join("::"), last.to_upper_camel_case());
    // As the library exports them.
    path.replacen("mesos::v1::", "v1::", 1).replacen("proffer::internal::", "internal::", 1)
}

fn tables(names: &Names) -> String {
    let to_fill = names.with_maps_to_fill();
    let mut text = String::from("pub(crate) static MESSAGES: &[Message] = &[\n");
    for (name, message) in &names.messages {
        // The required fields that were seen are kept in 64 bits.
        assert!(message.field.len() <= 64, "{name} has too many fields");
        writeln!(
            text,
            "Message {{ name: {:?}, is_map: {}, fill_maps: {}, fields: &[",
            &name[1..],
            is_map(message),
            to_fill.contains(name.as_str()),
        )
        .expect("text");
        for field in &message.field {
            let label = match field.label() {
                Label::Optional => "Label::Optional",
                Label::Required => "Label::Required",
                Label::Repeated => "Label::Repeated",
            };
            writeln!(
                text,
                "Field {{ name: {:?}, number: {}, kind: {}, label: {label}, default: {:?} }},",
                field.name(),
                field.number(),
                kind(names, field),
                default(field),
            )
            .expect("text");
        }
        text.push_str("] },\n");
    }
    text.push_str("];\npub(crate) static ENUMS: &[Enum] = &[\n");
    for (name, item) in &names.enums {
        writeln!(text, "Enum {{ name: {:?}, values: &[", &name[1..]).expect("text");
        for value in &item.value {
            writeln!(text, "({:?}, {}),", value.name(), value.number()).expect("text");
        }
        text.push_str("] },\n");
    }
    text.push_str("];\n");
    text
}

fn kind(names: &Names, field: &FieldDescriptorProto) -> String {
    fn position<T>(of: &BTreeMap<String, T>, name: &str) -> usize {
        of.keys().position(|k| k == name).expect("a known type")
    }
    match field.r#type() {
        Type::Double => "Kind::Double".to_owned(),
        Type::Int64 => "Kind::Int64".to_owned(),
        Type::Uint64 => "Kind::Uint64".to_owned(),
        Type::Int32 => "Kind::Int32".to_owned(),
        Type::Uint32 => "Kind::Uint32".to_owned(),
        Type::Bool => "Kind::Bool".to_owned(),
        Type::String => "Kind::String".to_owned(),
        Type::Bytes => "Kind::Bytes".to_owned(),
        Type::Enum => format!("Kind::Enum({})", position(&names.enums, field.type_name())),
        Type::Message => {
            format!("Kind::Message({})", position(&names.messages, field.type_name()))
        }
        other => panic!("fields of type {other:?} are not used"),
    }
}

/// The JSON text that is printed for a field which is not set.
fn default(field: &FieldDescriptorProto) -> Option<String> {
    let deprecated = field.options.as_ref().is_some_and(|o| o.deprecated());
    let value = field.default_value.as_ref().filter(|_| !deprecated)?;
    Some(match field.r#type() {
        Type::String | Type::Enum => format!("{value:?}"),
        Type::Double if !value.contains('.') => format!("{value}.0"),
        _ => value.clone(),
    })
}
