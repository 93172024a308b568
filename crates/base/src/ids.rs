/// Stands for somebody who waits at a shell: a request to be answered, an event stream, a connection.
/// Only the shell that made it can turn it into a socket. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names one write to durable storage; its completion input carries the same id. Never used twice by one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);
