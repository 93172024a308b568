//! Compiles the .proto files without a system protoc: prost structs, and a table of all messages and enums from
//! which JSON and the required-field check work.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use std::collections::BTreeMap;
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("tables.rs"), tables(&files))?;
    files.file.iter_mut().flat_map(|f| &mut f.message_type).for_each(allow_deprecated);
    prost_build::Config::new()
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
}

fn tables(files: &FileDescriptorSet) -> String {
    let mut names = Names::default();
    for file in &files.file {
        let prefix = format!(".{}", file.package());
        for message in &file.message_type {
            names.add(&prefix, message);
        }
        for item in &file.enum_type {
            names.enums.insert(format!("{prefix}.{}", item.name()), item.clone());
        }
    }
    let position = |keys: Vec<&String>, name: &str| {
        keys.iter().position(|k| *k == name).expect("a known type")
    };
    let mut text = String::from("pub(crate) static MESSAGES: &[Message] = &[\n");
    for (name, message) in &names.messages {
        let is_map = message.options.as_ref().is_some_and(|o| o.map_entry());
        writeln!(text, "Message {{ name: {:?}, is_map: {is_map}, fields: &[", &name[1..])
            .expect("text");
        for field in &message.field {
            let kind = match field.r#type() {
                Type::Double => "Kind::Double".to_owned(),
                Type::Int64 => "Kind::Int64".to_owned(),
                Type::Uint64 => "Kind::Uint64".to_owned(),
                Type::Int32 => "Kind::Int32".to_owned(),
                Type::Uint32 => "Kind::Uint32".to_owned(),
                Type::Bool => "Kind::Bool".to_owned(),
                Type::String => "Kind::String".to_owned(),
                Type::Bytes => "Kind::Bytes".to_owned(),
                Type::Enum => {
                    format!(
                        "Kind::Enum({})",
                        position(names.enums.keys().collect(), field.type_name())
                    )
                }
                Type::Message => {
                    format!(
                        "Kind::Message({})",
                        position(names.messages.keys().collect(), field.type_name())
                    )
                }
                other => panic!("fields of type {other:?} are not used"),
            };
            let label = match field.label() {
                Label::Optional => "Label::Optional",
                Label::Required => "Label::Required",
                Label::Repeated => "Label::Repeated",
            };
            let deprecated = field.options.as_ref().is_some_and(|o| o.deprecated());
            let default = field.default_value.as_ref().filter(|_| !deprecated);
            let default = default.map(|value| match field.r#type() {
                Type::String | Type::Enum => format!("{value:?}"),
                Type::Double if !value.contains('.') => format!("{value}.0"),
                _ => value.clone(),
            });
            let default = default.map(|d| if d.starts_with('"') { d } else { format!("{d:?}") });
            writeln!(
                text,
                "Field {{ name: {:?}, number: {}, kind: {kind}, label: {label}, default: {} }},",
                field.name(),
                field.number(),
                match (field.r#type(), default) {
                    (_, None) => "None".to_owned(),
                    (Type::String | Type::Enum, Some(d)) => format!("Some({:?})", d),
                    (_, Some(d)) => format!("Some({d})"),
                },
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
