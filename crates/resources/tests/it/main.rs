//! Resource algebra through its public interface.

mod algebra;
mod many;
mod operation;
mod shared;
mod text;
mod wire_form;
