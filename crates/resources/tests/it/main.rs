//! Resource algebra through its public interface.

mod algebra;
mod operation;
mod text;
mod wire_form;
