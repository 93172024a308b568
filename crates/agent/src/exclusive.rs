//! One agent for a directory.

use crate::StartError;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// How often a lock is tried for: an agent that was just killed may still hold it.
const TRIES: u32 = 20;
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Holds the directory, which is made if it is not there, for this process until the file is closed.
///
/// # Errors
/// [`StartError::InUse`], or [`StartError::Lock`] when the file can't be written.
pub(crate) async fn hold(directory: &Path, flag: &'static str) -> Result<File, StartError> {
    let path = directory.join("agent.lock");
    let fault = |source| StartError::Lock { path: path.display().to_string(), source, flag };
    std::fs::create_dir_all(directory).map_err(fault)?;
    let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.map_err(fault)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => {
                // For whoever tries next.
                file.set_len(0)
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .map_err(fault)?;
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
    }
    let pid = std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
    Err(StartError::InUse { directory: directory.display().to_string(), pid, flag })
}
