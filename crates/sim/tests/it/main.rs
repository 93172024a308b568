//! The simulator from outside.

mod sabotage;
mod what_if;
