//! Sandboxes: directories and files.

use crate::format::bytes;
use crate::frame::{Page, Section};
use crate::parts::{nothing, number, table, text, time};
use crate::query::encode;
use crate::route::{Place, Route};
use maud::{Markup, html};

/// Entries of a directory that are shown.
const ENTRIES_MAX: usize = 2000;
/// What is read of the end of a file when it is opened, in bytes.
const TAIL: usize = 64 << 10;

/// A directory of a sandbox.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Whose sandbox.
    pub place: Place,
    /// Its path below the sandbox.
    pub path: String,
    /// What is in it, in order.
    pub entries: Vec<Entry>,
}

/// What is in a directory.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Kind and rights as of stat(2).
    pub mode: u32,
    /// In bytes.
    pub size: u64,
    /// When it was last changed, in seconds since 1970.
    pub modified: f64,
    /// Whose it is.
    pub owner: String,
    /// And of which group.
    pub group: String,
}

impl Entry {
    fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// As `ls -l` shows it.
    fn rights(&self) -> String {
        let kind = match self.mode & 0o170_000 {
            0o040_000 => 'd',
            0o120_000 => 'l',
            0o100_000 => '-',
            _ => '?',
        };
        let bit = |at: u32| match self.mode & (0o400 >> at) {
            0 => '-',
            _ => ['r', 'w', 'x'][at as usize % 3],
        };
        std::iter::once(kind).chain((0..9).map(bit)).collect()
    }
}

/// A file of a sandbox.
#[derive(Debug, Clone)]
pub struct File {
    /// Whose sandbox.
    pub place: Place,
    /// Its path below the sandbox.
    pub path: String,
    /// How long it is, in bytes.
    pub size: u64,
}

/// Makes the page of a directory.
#[must_use]
pub fn directory(model: &Directory, now: f64) -> Page {
    let Directory { place, path, entries } = model;
    let files = Route::Files(place.clone()).href();
    let download = Route::Download(place.clone()).href();
    let below =
        |name: &str| if path.is_empty() { encode(name) } else { encode(&format!("{path}/{name}")) };
    let columns = [
        text("", "Name"),
        number("", "Size"),
        text("", "Changed"),
        text("", "Owner"),
        text("", "Mode"),
        text("", ""),
    ];
    let main = html! {
        (title(place, path, html! {}))
        @if entries.is_empty() { (nothing("There is nothing in it.")) } @else {
            (table("Files", &columns, &html! {
                @for entry in entries.iter().take(ENTRIES_MAX) {
                    tr {
                        th scope="row" {
                            a href=(format!("{files}?path={}", below(&entry.name))) { (entry.name) @if entry.is_directory() { "/" } }
                        }
                        td.number { @if !entry.is_directory() { (bytes(entry.size)) } }
                        td { (time(now, entry.modified)) }
                        td { (entry.owner) " " span.note { (entry.group) } }
                        td { code { (entry.rights()) } }
                        td { @if !entry.is_directory() { a href=(format!("{download}?path={}", below(&entry.name))) { "download" } } }
                    }
                }
            }))
            @if entries.len() > ENTRIES_MAX { p.note { "and " (crate::format::count((entries.len() - ENTRIES_MAX) as u64)) " more" } }
        }
    };
    Page { is_live: false, ..Page::new(format!("{path}/ · {}", place.id()), Section::Tasks, main) }
}

/// Makes the page of a file, which a script reads and follows.
#[must_use]
pub fn file(model: &File) -> Page {
    let File { place, path, size } = model;
    let encoded = encode(path);
    let read = format!("{}?path={encoded}", Route::Read(place.clone()).href());
    let download = format!("{}?path={encoded}", Route::Download(place.clone()).href());
    let main = html! {
        (title(place, path, html! {
            span.note { span #size { (bytes(*size)) } }
            label.switch { input #follow type="checkbox" checked; "Follow" }
            label.switch { input #wrap type="checkbox" checked; "Wrap lines" }
            a.button href=(download) { "Download" }
        }))
        p { button #earlier type="button" hidden { "Show what is before" } }
        pre.log.whole #log tabindex="0" data-follow=(read) data-tail=(TAIL) aria-label=(path) {}
        noscript { p.notice { "To follow a file takes scripts; it can be downloaded without." } }
    };
    Page { is_live: false, ..Page::new(format!("{path} · {}", place.id()), Section::Tasks, main) }
}

fn title(place: &Place, path: &str, beside: Markup) -> Markup {
    let files = Route::Files(place.clone()).href();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    html! {
        header.title {
            p.kind { a href=(place.href()) { (place.id()) } }
            h1.path {
                a href=(files) { "sandbox" }
                @for (at, part) in parts.iter().enumerate() {
                    span aria-hidden="true" { " / " }
                    @if at + 1 == parts.len() { (part) } @else {
                        a href=(format!("{files}?path={}", encode(&parts[..=at].join("/")))) { (part) }
                    }
                }
            }
            div.beside { (beside) }
        }
    }
}
