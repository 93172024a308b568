use std::fmt;

/// Why bytes are not the message that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The field, from the outermost message: `accept.operations[0].launch.task_infos[2].agent_id`. Empty for the
    /// message itself.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// Puts `segment` before the path.
    pub(crate) fn within(mut self, segment: &str) -> Self {
        if self.path.is_empty() {
            segment.clone_into(&mut self.path);
        } else if self.path.starts_with('[') {
            self.path.insert_str(0, segment);
        } else {
            self.path = format!("{segment}.{}", self.path);
        }
        self
    }

    /// Takes `segment` from the front of the path.
    pub(crate) fn without(mut self, segment: &str) -> Self {
        if let Some(rest) = self.path.strip_prefix(segment) {
            self.path = rest.strip_prefix('.').unwrap_or(rest).to_owned();
        }
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for DecodeError {}
