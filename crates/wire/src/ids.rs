//! Ids are messages with one text field; they are made from text.

use crate::v1;

macro_rules! from_text {
    ($($id:ident),*) => {$(
        impl From<&str> for v1::$id {
            fn from(value: &str) -> Self {
                value.to_owned().into()
            }
        }
        impl From<String> for v1::$id {
            fn from(value: String) -> Self {
                Self { value }
            }
        }
    )*};
}

from_text!(FrameworkId, AgentId, TaskId, ExecutorId, OfferId, OperationId, ResourceProviderId);
