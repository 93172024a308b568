//! Unpacking what may be hostile, and resolving names below a directory.
