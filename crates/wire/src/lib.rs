//! Messages of every public interface and of the master-agent connection, and their two encodings.
//!
//! The structs are prost's. Mesos' JSON mapping ([`json`]) and the check for required fields ([`protobuf`]) work from
//! one static table made out of the same .proto files, between JSON and protobuf bytes: prost itself neither knows
//! Mesos' JSON nor notices that a required field is missing.
#![forbid(unsafe_code)]

mod error;
mod ids;
pub mod json;
pub mod protobuf;
pub mod recordio;
mod table;
mod tree;

/// Generated message types, one module per protobuf package.
#[allow(missing_docs, clippy::all, unreachable_pub, rustdoc::all)]
mod packages {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use error::DecodeError;
pub use packages::google;
pub use packages::mesos::v1;
pub use packages::proffer::internal;
pub use table::{FieldInfo, enum_values, message_names, schema};
pub use tree::Tree;

/// Every generated message.
///
/// Prost's encoder and decoder are generic, and would be compiled again in each crate that uses them; they are called
/// through this trait instead, so that they exist once.
pub trait Message:
    prost::Message + prost::Name + Default + Clone + PartialEq + std::fmt::Debug
{
    /// Where the message is in the table.
    #[doc(hidden)]
    const TABLE: usize;

    /// Prost's encoding.
    #[doc(hidden)]
    fn to_bytes(&self) -> Vec<u8>;

    /// Bytes of that encoding.
    #[doc(hidden)]
    fn length(&self) -> usize;

    /// Prost's decoding, which does not check that required fields are there.
    #[doc(hidden)]
    fn from_bytes(bytes: &[u8]) -> Result<Self, prost::DecodeError>;
}

macro_rules! each_message {
    ($($at:literal $message:path,)*) => {$(
        impl Message for $message {
            const TABLE: usize = $at;

            #[inline]
            fn to_bytes(&self) -> Vec<u8> {
                prost::Message::encode_to_vec(self)
            }

            #[inline]
            fn length(&self) -> usize {
                prost::Message::encoded_len(self)
            }

            #[inline]
            fn from_bytes(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
                prost::Message::decode(bytes)
            }
        }
    )*};
}

include!(concat!(env!("OUT_DIR"), "/each_message.rs"));
