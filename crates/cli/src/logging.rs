//! Logs to standard error, and to a file of `--log_dir`.

use crate::flags::Flags;
use http_api::logging::LogLevel;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logging that was started.
#[derive(Debug, Clone)]
pub(crate) struct Logging {
    /// The log file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// Changes how much is logged.
    pub(crate) level: Arc<LogLevel>,
}

/// Starts logging.
pub(crate) fn start(flags: &Flags, program: &str) -> Result<Logging, String> {
    let level = match flags.text("logging_level").unwrap_or("INFO") {
        "INFO" => "info",
        "WARNING" => "warn",
        "ERROR" => "error",
        other => {
            return Err(format!("--logging_level: expected INFO, WARNING or ERROR, got '{other}'"));
        }
    };
    let level = if flags.is_set("quiet") { "error" } else { level };
    // What that library has to say of a master that is away would fill the log; what matters of it is logged by ours.
    let usual = format!("{level},openraft=off");
    let base = std::env::var("PROFFER_LOG").unwrap_or(usual);
    let filter = EnvFilter::try_new(&base)
        .map_err(|e| format!("PROFFER_LOG: expected filters of modules, got '{base}': {e}"))?;
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
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let level = LogLevel::new(move |level| {
        let wanted = match level {
            0 => base.as_str(),
            1 => "debug",
            _ => "trace",
        };
        if let Ok(filter) = EnvFilter::try_new(wanted) {
            let _ = handle.reload(filter);
        }
    });
    Ok(Logging { file, level })
}
