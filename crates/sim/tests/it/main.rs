//! The simulator from outside.

mod masters;
mod sabotage;
mod what_if;
