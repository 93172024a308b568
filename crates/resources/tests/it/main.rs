//! Resource algebra through its public interface.

mod algebra;
mod text;
mod wire_form;
