//! The files endpoints: attached virtual paths, and nothing else (spec/agent.md 8.3).

use crate::body::Contents;
use crate::respond::{self, query_value};
use crate::{Body, Request, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;
use wire::v1;

/// Longest piece of one answer: 16 pages.
const READ_MAX: u64 = 16 * 4096;

/// Virtual paths with what they stand for.
pub type Attached = BTreeMap<String, PathBuf>;

/// Why a path has no file.
enum Refusal {
    Missing,
    Escapes,
    Invalid(&'static str),
}

impl Refusal {
    fn respond(self, path: &str) -> Response {
        match self {
            Refusal::Missing => respond::text(404, ""),
            Refusal::Escapes => {
                respond::text(400, format!("File path '{path}' is inaccessible.\n"))
            }
            Refusal::Invalid(text) => respond::text(400, text),
        }
    }
}

/// The real path behind a virtual one: below the longest attached prefix, and nowhere else.
fn resolve(attached: &Attached, path: &str) -> Result<PathBuf, Refusal> {
    if path.is_empty() {
        return Err(Refusal::Invalid("Expecting 'path=value' in query.\n"));
    }
    if path.contains('\0') {
        return Err(Refusal::Missing);
    }
    let path = path.trim_end_matches('/');
    let under = |root: &str| {
        path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = attached
        .iter()
        .rev()
        .filter_map(|(root, real)| under(root).map(|rest| (root.len(), rest, real)));
    let Some((_, rest, real)) = found.max_by_key(|(length, ..)| *length) else {
        return Err(Refusal::Missing);
    };
    let rest = Path::new(rest.trim_start_matches('/'));
    if rest.components().any(|c| !matches!(c, Component::Normal(_))) {
        return Err(Refusal::Escapes);
    }
    let root = real.canonicalize().map_err(|_| Refusal::Missing)?;
    if rest.as_os_str().is_empty() {
        // A slash after the name of a file would make it a directory that is not there.
        return Ok(root);
    }
    let target = root.join(rest).canonicalize().map_err(|_| Refusal::Missing)?;
    // A symbolic link may lead anywhere.
    if target.starts_with(&root) { Ok(target) } else { Err(Refusal::Escapes) }
}

/// Answers `/files/<name>`; None for other names. Reads files: call it where blocking is allowed.
#[must_use]
pub fn answer(name: &str, query: &str, attached: &Attached) -> Option<Response> {
    let path = query_value(query, "path").unwrap_or_default();
    let with = |serve: fn(&str, &str, PathBuf) -> Response| match resolve(attached, &path) {
        Ok(real) => serve(query, &path, real),
        Err(refusal) => refusal.respond(&path),
    };
    Some(match name {
        "browse" => with(browse),
        "read" => with(read),
        "download" => with(download),
        "debug" => {
            let map: serde_json::Map<String, serde_json::Value> =
                attached.iter().map(|(v, r)| (v.clone(), r.display().to_string().into())).collect();
            respond::json(query, serde_json::Value::from(map).to_string().into_bytes())
        }
        _ => return None,
    })
}

/// The query of a request; empty if it has none.
#[must_use]
pub fn query_of(request: &Request) -> String {
    request.uri().query().unwrap_or_default().to_owned()
}

/// Entries of a directory, in order of their paths; none of a file.
fn entries(path: &str, real: &Path) -> Vec<v1::FileInfo> {
    let mut entries: Vec<v1::FileInfo> = Vec::new();
    // There may be many files, of few owners.
    let (mut users, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for entry in std::fs::read_dir(real).into_iter().flatten().flatten() {
        let Ok(meta) = std::fs::symlink_metadata(entry.path()) else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let modified = meta.modified().ok().and_then(|m| m.duration_since(UNIX_EPOCH).ok());
        let nanoseconds = i64::try_from(modified.unwrap_or_default().as_nanos());
        entries.push(v1::FileInfo {
            path: format!("{}/{name}", path.trim_end_matches('/')),
            nlink: i32::try_from(meta.nlink()).ok(),
            size: Some(meta.len()),
            mtime: Some(v1::TimeInfo { nanoseconds: nanoseconds.unwrap_or(i64::MAX) }),
            mode: Some(meta.mode()),
            uid: Some(name_of("/etc/passwd", meta.uid(), &mut users)),
            gid: Some(name_of("/etc/group", meta.gid(), &mut groups)),
        });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// LIST_FILES: entries below a virtual path.
///
/// # Errors
/// The answer that refuses it.
pub fn list(attached: &Attached, path: &str) -> Result<Vec<v1::FileInfo>, Box<Response>> {
    let real = resolve(attached, path).map_err(|refusal| Box::new(refusal.respond(path)))?;
    Ok(entries(path, &real))
}

/// READ_FILE: size of a file, and a piece of it.
///
/// # Errors
/// The answer that refuses it.
pub fn piece(
    attached: &Attached,
    path: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<(u64, Vec<u8>), Box<Response>> {
    let real = resolve(attached, path).map_err(|refusal| Box::new(refusal.respond(path)))?;
    let (file, size) = open("read", &real)?;
    let failed = |_| Box::new(respond::text(500, format!("Failed to read '{path}'.\n")));
    let data = read_at(file, size, offset, length.unwrap_or(READ_MAX)).map_err(failed)?;
    Ok((size, data))
}

/// Opens a regular file without waiting for anybody: a task may put a pipe or a device in its place.
fn open(to: &str, real: &Path) -> Result<(File, u64), Box<Response>> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let missing = |_| Box::new(respond::text(404, ""));
    let refuse = |what: &str| Err(Box::new(respond::text(400, format!("Cannot {to} {what}.\n"))));
    let file = File::options().read(true).custom_flags(nonblocking).open(real).map_err(missing)?;
    // A link may have been put on the way since the path was resolved.
    if std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(missing)? != real {
        return Err(Box::new(respond::text(404, "")));
    }
    let meta = file.metadata().map_err(missing)?;
    match meta.file_type() {
        kind if kind.is_file() => Ok((file, meta.len())),
        kind if kind.is_dir() => refuse("a directory"),
        _ => refuse("what is not a file"),
    }
}

fn read_at(mut file: File, size: u64, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    if offset < size {
        file.seek(SeekFrom::Start(offset))?;
        file.take(length.min(READ_MAX)).read_to_end(&mut data)?;
    }
    Ok(data)
}

fn browse(query: &str, path: &str, real: PathBuf) -> Response {
    let json = |info: v1::FileInfo| {
        serde_json::json!({
            "path": info.path,
            "nlink": info.nlink,
            "size": info.size,
            "mtime": info.mtime.map_or(0, |t| t.nanoseconds / 1_000_000_000) as f64,
            "mode": mode(info.mode()),
            "uid": info.uid,
            "gid": info.gid,
        })
    };
    let mut list = b"[".to_vec();
    for (at, info) in entries(path, &real).into_iter().enumerate() {
        if at > 0 {
            list.push(b',');
        }
        list.extend_from_slice(json(info).to_string().as_bytes());
    }
    list.push(b']');
    respond::json(query, list)
}

/// As `ls -l` shows it.
fn mode(mode: u32) -> String {
    // Kinds of files as of stat(2).
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        _ => '-',
    };
    let bits =
        (0..9).map(|at| if mode & (0o400 >> at) == 0 { '-' } else { ['r', 'w', 'x'][at % 3] });
    std::iter::once(kind).chain(bits).collect()
}

/// Name of an id in one of the system's tables; the number if it has none. `known` are those of before.
fn name_of(table: &str, id: u32, known: &mut BTreeMap<u32, String>) -> String {
    let find = || {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let mut lines = text.lines().map(|line| line.split(':'));
        let found = lines.find_map(|mut fields| {
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
        });
        found.unwrap_or_else(|| id.to_string())
    };
    known.entry(id).or_insert_with(find).clone()
}

fn read(query: &str, path: &str, real: PathBuf) -> Response {
    let number = |name: &str| match query_value(query, name) {
        None => Ok(None),
        Some(text) => text
            .parse::<i64>()
            .map(Some)
            .map_err(|_| format!("Failed to parse {name}: '{text}'.\n")),
    };
    let (offset, length) = match (number("offset"), number("length")) {
        (Ok(offset), Ok(length)) => (offset, length),
        (Err(text), _) | (_, Err(text)) => return respond::text(400, text),
    };
    if offset.is_some_and(|o| o < -1) {
        return respond::text(400, "Negative offset provided.\n");
    }
    if length.is_some_and(|l| l < -1) {
        return respond::text(400, "Negative length provided.\n");
    }
    let (file, size) = match open("read", &real) {
        Ok(opened) => opened,
        Err(refusal) => return *refusal,
    };
    let Some(offset) = offset.and_then(|o| u64::try_from(o).ok()) else {
        return respond::json(
            query,
            serde_json::json!({"offset": size, "data": ""}).to_string().into_bytes(),
        );
    };
    let length = length.and_then(|l| u64::try_from(l).ok()).unwrap_or(READ_MAX);
    let Ok(data) = read_at(file, size, offset, length) else {
        return respond::text(500, format!("Failed to read '{path}'.\n"));
    };
    let body = serde_json::json!({"offset": offset, "data": String::from_utf8_lossy(&data)});
    respond::json(query, body.to_string().into_bytes())
}

fn download(_query: &str, path: &str, real: PathBuf) -> Response {
    let (file, size) = match open("download", &real) {
        Ok(opened) => opened,
        Err(refusal) => return *refusal,
    };
    let content_type = match real.extension().and_then(|e| e.to_str()) {
        Some("txt" | "log") => "text/plain",
        Some("html") => "text/html",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    };
    // It may grow meanwhile.
    let mut response = http::Response::new(Body::File(Contents::new(file, size)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let base: String = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control() && *c != '"')
        .collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename={base}")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}
