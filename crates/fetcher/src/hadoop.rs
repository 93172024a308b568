//! Everything whose scheme is not known here is the Hadoop client's (spec/agent.md 5).

use crate::rights;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Most output of the client that is read.
const OUTPUT_MAX: u64 = 1 << 20;

/// The client.
#[derive(Debug)]
pub(crate) struct Hadoop<'a>(pub(crate) &'a str);

impl Hadoop<'_> {
    /// Runs the client: what it writes to its standard output. The rest goes to our standard error.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.0);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        // Its virtual machine has bounds of its own.
        rights::limit_memory(false);
        let spawned = command.spawn();
        rights::limit_memory(true);
        let mut child = spawned.map_err(|e| {
            format!("Failed to create HDFS client: Hadoop client is not available: '{}': {e}; it is looked for below --hadoop_home, else below HADOOP_HOME, else in PATH", self.0)
        })?;
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(OUTPUT_MAX);
            stdout.read_to_end(&mut output).map_err(|e| e.to_string())?;
        }
        let output = String::from_utf8_lossy(&output).into_owned();
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() {
            return Ok(output);
        }
        Err(format!("Unexpected result from the subprocess: {status}, stdout='{}'", output.trim()))
    }

    /// Whether there is a client.
    fn check(&self) -> Result<(), String> {
        self.run(&["version"]).map(drop).map_err(|text| {
            if text.starts_with("Failed") {
                return text;
            }
            format!("Failed to create HDFS client: Hadoop client is not available: {text}")
        })
    }

    /// Downloads to a new file.
    pub(crate) fn copy_to_local(&self, uri: &str, path: &Path) -> Result<(), String> {
        self.check()?;
        let path = path.to_str().ok_or("the sandbox's path is no text")?;
        self.run(&["fs", "-copyToLocal", uri, path])
            .map(drop)
            .map_err(|e| format!("HDFS copyToLocal failed: {e}"))
    }

    /// How large a file is.
    pub(crate) fn size(&self, uri: &str) -> Result<u64, String> {
        self.check()?;
        let output = self
            .run(&["fs", "-du", uri])
            .map_err(|e| format!("Hadoop client could not determine size: {e}"))?;
        size_of(&output, uri).ok_or_else(|| {
            format!("Hadoop client could not determine size: Unexpected output format: '{output}'")
        })
    }
}

/// The size in the line for `uri`: `size uri`, or `size size-on-disk uri`, among whatever else the client says.
fn size_of(output: &str, uri: &str) -> Option<u64> {
    output.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let fits = matches!(fields.len(), 2 | 3) && fields.last() == Some(&uri);
        fits.then(|| fields[0].parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_between_warnings() {
        let output = "26/11/21 WARN util.NativeCodeLoader: none\n17  hdfs://h/f\n";
        assert_eq!(size_of(output, "hdfs://h/f"), Some(17));
        assert_eq!(size_of("17 51 hdfs://h/f", "hdfs://h/f"), Some(17));
        assert_eq!(size_of("17 51 4 hdfs://h/f", "hdfs://h/f"), None);
        assert_eq!(size_of("x hdfs://h/f", "hdfs://h/f"), None);
    }
}
