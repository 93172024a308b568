//! The proffer program.
fn main() {}
