//! Resource algebra through its public interface.

mod algebra;
mod many;
mod operation;
mod text;
mod wire_form;
