//! Logs to standard error, and to a file of `--log_dir`.

mod rotation;

use crate::flags::Flags;
use http_api::logging::{LogLevel, Wanted};
use rotation::Rotating;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logging that was started.
#[derive(Debug, Clone)]
pub(crate) struct Logging {
    /// The log file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// Changes how much is logged.
    pub(crate) level: Arc<LogLevel>,
}

impl Logging {
    /// That of a program that does not log.
    pub(crate) fn none() -> Self {
        Self { file: None, level: LogLevel::new(|_| Ok(())) }
    }
}

/// What is logged when nobody asks for more.
fn usual(flags: &Flags) -> Result<String, String> {
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
    Ok(std::env::var("PROFFER_LOG").unwrap_or(format!("{level},openraft=off")))
}

/// Where lines go to, and the file that is shown to readers.
fn writer(flags: &Flags, program: &str) -> Result<(BoxMakeWriter, Option<PathBuf>), String> {
    let external = flags.text("external_log_file").map(PathBuf::from);
    let Some(directory) = flags.text("log_dir") else {
        return Ok((BoxMakeWriter::new(std::io::stderr), external));
    };
    std::fs::create_dir_all(directory).map_err(|e| format!("--log_dir: {directory}: {e}"))?;
    let path = PathBuf::from(directory).join(format!("{program}.log"));
    let (size, former) = (flags.bytes("log_max_size")?, flags.number("log_max_files")?);
    let file = Rotating::open(&path, size, former);
    let file = file.map_err(|e| format!("--log_dir: cannot open {}: {e}", path.display()))?;
    Ok((BoxMakeWriter::new(std::io::stderr.and(Mutex::new(file))), external.or(Some(path))))
}

/// Starts logging.
pub(crate) fn start(flags: &Flags, program: &str) -> Result<Logging, String> {
    let base = usual(flags)?;
    let filter = EnvFilter::try_new(&base)
        .map_err(|e| format!("PROFFER_LOG: expected filters of modules, got '{base}': {e}"))?;
    let (writer, file) = writer(flags, program)?;
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let lines = match flags.text("log_format").unwrap_or("text") {
        "text" => lines.boxed(),
        "json" => lines.json().flatten_event(true).boxed(),
        other => return Err(format!("--log_format: expected text or json, got '{other}'")),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    let level = LogLevel::new(move |wanted| {
        let directives = match wanted {
            Wanted::Level(0) => base.clone(),
            Wanted::Level(1) => "debug".to_owned(),
            Wanted::Level(_) => "trace".to_owned(),
            Wanted::Filter(more) => format!("{base},{more}"),
        };
        let filter = EnvFilter::try_new(directives).map_err(|e| e.to_string())?;
        handle.reload(filter).map_err(|e| e.to_string())
    });
    Ok(Logging { file, level })
}
