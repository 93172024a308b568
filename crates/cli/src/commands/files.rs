//! `proffer ls`, `cat` and `cp`: the files of a task's sandbox.

use super::found::{self, Which};
use super::lists::{finished, framework_arg, word};
use super::progress;
use super::sandbox::{Sandbox, is_directory, is_link, name};
use super::{counted, harmless, note, unwritten};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgMatches, Command};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use wire::v1::FileInfo;

const LS: &str = "\
Examples:
  proffer ls web-1                        the sandbox
  proffer ls web-1 logs --json
";
const CAT: &str = "\
Examples:
  proffer cat web-1 stderr
  proffer cat web-1 logs/access.log | grep 500
";
const CP: &str = "\
Directories are copied with everything in them; symbolic links to files as those files. Nothing is copied into a sandbox:
for that there is `proffer exec -i TASK -- sh -c 'cat >FILE' <FILE`.

Examples:
  proffer cp web-1:core.1234 .
  proffer cp web-1:logs ./logs-of-web-1
  proffer cp web-1: sandbox               all of it
";

pub(crate) fn commands() -> [Command; 3] {
    let path = |help: &'static str| Arg::new("path").value_name("PATH").help(help);
    [
        Command::new("ls")
            .about("Lists files in the sandbox of a task")
            .after_help(LS)
            .args(found::args())
            .arg(path("A directory or file there; without it, the sandbox itself")),
        Command::new("cat")
            .about("Prints a file of the sandbox of a task")
            .after_help(CAT)
            .args(found::args())
            .arg(path("The file").required(true)),
        Command::new("cp").about("Copies files out of the sandbox of a task").after_help(CP).args(
            [
                Arg::new("from").value_name("TASK:PATH").required(true).help("What is copied"),
                Arg::new("to")
                    .value_name("LOCAL")
                    .required(true)
                    .help("Where to: a file or directory"),
                framework_arg(),
            ],
        ),
    ]
}

pub(crate) async fn ls(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let task = found::task(client, matches, Which::All).await?;
    let mut sandbox = Sandbox::of(client, &task).await?;
    let files = sandbox.list(word(matches, "path").unwrap_or_default()).await?;
    let mut table = TextTable::new(["MODE", "USER", "GROUP", "SIZE", "MODIFIED", "NAME"]);
    for file in &files {
        table.row([
            mode(file.mode()),
            file.uid().to_owned(),
            file.gid().to_owned(),
            file.size().to_string(),
            super::times::date(file.mtime.map_or(0, |time| time.nanoseconds)),
            format!("{}{}", name(file), if is_directory(file) { "/" } else { "" }),
        ]);
    }
    let list: Value = files.iter().map(shown).collect();
    finished(matches, &json!({"files": list}), &table, "There are no files.\n")
}

fn shown(file: &FileInfo) -> Value {
    json!({
        "name": name(file),
        "mode": mode(file.mode()),
        "user": file.uid(),
        "group": file.gid(),
        "size": file.size(),
        "modified": file.mtime.map_or(0, |time| time.nanoseconds / 1_000_000_000),
    })
}

/// As `ls -l` shows it.
fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '-',
    };
    let bits =
        (0..9).map(|at| if mode & (0o400 >> at) == 0 { '-' } else { ['r', 'w', 'x'][at % 3] });
    std::iter::once(kind).chain(bits).collect()
}

pub(crate) async fn cat(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let task = found::task(client, matches, Which::All).await?;
    let mut sandbox = Sandbox::of(client, &task).await?;
    let path = word(matches, "path").unwrap_or_default();
    let mut print = |bytes: &[u8]| {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(unwritten)
    };
    copy(&mut sandbox, path, &mut print).await?;
    Ok(String::new())
}

/// Gives a file to `take` in pieces, as long as it is now.
async fn copy(
    sandbox: &mut Sandbox,
    path: &str,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut offset, mut end) = (0, u64::MAX);
    while offset < end {
        let read = sandbox.read(path, offset, None).await;
        let (size, piece) = read.map_err(|e| sandbox.failed(path, &e))?;
        // What is written meanwhile would never come to an end.
        end = end.min(size);
        if piece.is_empty() {
            break;
        }
        let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(piece.len());
        take(&piece[..wanted])?;
        offset += wanted as u64;
    }
    Ok(())
}

pub(crate) async fn cp(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let (from, to) =
        (word(matches, "from").unwrap_or_default(), word(matches, "to").unwrap_or_default());
    let Some((task, path)) = from.split_once(':') else {
        let more = match to.contains(':') {
            true => "; nothing can be copied into a sandbox (see --help)",
            false => "",
        };
        return Err(Failure::usage(format!("'{from}': expected TASK:PATH{more}")));
    };
    let framework = found::framework(client, matches).await?;
    let task = found::find(client, task, framework.as_deref(), Which::All).await?;
    let mut sandbox = Sandbox::of(client, &task).await?;
    let entry = sandbox.entry(path).await?;
    let mut target = PathBuf::from(to);
    let is_tree = entry.as_ref().is_none_or(is_directory);
    if let Some(entry) = entry.as_ref().filter(|_| target.is_dir()) {
        target.push(name(entry));
    }
    let mut plan = Plan::default();
    match entry.filter(|_| !is_tree) {
        Some(file) => plan.files.push((path.to_owned(), target.clone(), file)),
        None => plan.walk(&mut sandbox, path, &target).await?,
    }
    let bar = progress::bytes(plan.bytes(), text_of(path));
    let count = plan.files.len();
    for directory in &plan.directories {
        std::fs::create_dir_all(directory).map_err(|e| unwritable(directory, &e))?;
    }
    let mut bytes = 0;
    for (path, target, file) in plan.files {
        bytes += fetch(&mut sandbox, &path, &target, &file, &bar).await?;
    }
    bar.finish_and_clear();
    if super::wants_json(matches) {
        return Ok(super::pretty(&json!({"files": count, "bytes": bytes, "to": target})));
    }
    let files = counted(count, "file");
    Ok(format!("{files}, {bytes} bytes: {}\n", target.display()))
}

fn text_of(path: &str) -> &str {
    path.trim_matches('/').rsplit('/').next().unwrap_or_default()
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

/// What is to be copied.
#[derive(Default)]
struct Plan {
    directories: Vec<PathBuf>,
    /// From where to where.
    files: Vec<(String, PathBuf, FileInfo)>,
}

impl Plan {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, _, file)| file.size()).sum()
    }

    /// A directory with everything in it.
    async fn walk(
        &mut self,
        sandbox: &mut Sandbox,
        path: &str,
        target: &Path,
    ) -> Result<(), Failure> {
        let mut open = vec![(path.trim_matches('/').to_owned(), target.to_owned())];
        while let Some((path, target)) = open.pop() {
            for file in sandbox.list(&path).await? {
                let name = name(&file);
                if name.is_empty() {
                    continue;
                }
                let inner =
                    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                let inside = target.join(name);
                if is_directory(&file) {
                    open.push((inner, inside));
                } else {
                    self.files.push((inner, inside, file));
                }
            }
            self.directories.push(target);
        }
        Ok(())
    }
}

/// Copies a file; the number of its bytes. A half copied one never has the name of the whole.
async fn fetch(
    sandbox: &mut Sandbox,
    path: &str,
    target: &Path,
    info: &FileInfo,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    bar.set_message(harmless(text_of(path)));
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part).map_err(|e| unwritable(&part, &e))?;
    let mut bytes = 0;
    let mut take = |piece: &[u8]| {
        bytes += piece.len() as u64;
        bar.inc(piece.len() as u64);
        file.write_all(piece).map_err(|e| unwritable(&part, &e))
    };
    if let Err(failure) = copy(sandbox, path, &mut take).await {
        let _ = std::fs::remove_file(&part);
        // Links lead to directories, out of the sandbox or nowhere; pipes and sockets are no files.
        let is_plain = info.mode() & 0o170_000 == 0o100_000;
        if is_plain && !is_link(info) {
            return Err(failure);
        }
        note(&format!("'{path}' is no file and was left out"));
        return Ok(0);
    }
    if !is_link(info) {
        let permissions = std::fs::Permissions::from_mode(info.mode() & 0o777);
        file.set_permissions(permissions).map_err(|e| unwritable(&part, &e))?;
    }
    std::fs::rename(&part, target).map_err(|e| unwritable(target, &e))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_ls_shows_them() {
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o040_755), "drwxr-xr-x");
        assert_eq!(mode(0o120_777), "lrwxrwxrwx");
        assert_eq!(mode(0o010_600), "prw-------");
    }
}
