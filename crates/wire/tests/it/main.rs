//! Codecs through their public interface.

mod compatible;
mod fuzz;
mod golden;
mod json;
mod recordio;
mod required;
mod roundtrip;
mod tree;
