//! Logs to standard error, and to a file of `--log_dir`.

use crate::flags::Flags;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};

/// Starts logging; gives the log file, if there is one.
pub(crate) fn start(flags: &Flags, program: &str) -> Result<Option<PathBuf>, String> {
    let level = match flags.text("logging_level").unwrap_or("INFO") {
        "INFO" => "info",
        "WARNING" => "warn",
        "ERROR" => "error",
        other => {
            return Err(format!("--logging_level: expected INFO, WARNING or ERROR, got '{other}'"));
        }
    };
    let level = if flags.is_set("quiet") { "error" } else { level };
    let filter = EnvFilter::try_from_env("PROFFER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let file = flags
        .text("log_dir")
        .map(|directory| PathBuf::from(directory).join(format!("{program}.log")));
    let writer = match &file {
        None => BoxMakeWriter::new(std::io::stderr),
        Some(path) => {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)
                    .map_err(|e| format!("--log_dir: {}: {e}", directory.display()))?;
            }
            let file = File::options().create(true).append(true).open(path);
            let file =
                file.map_err(|e| format!("--log_dir: cannot open {}: {e}", path.display()))?;
            BoxMakeWriter::new(std::io::stderr.and(Arc::new(file)))
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer).init();
    Ok(file)
}
