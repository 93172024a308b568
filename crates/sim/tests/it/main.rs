//! The simulator from outside.

mod what_if;
