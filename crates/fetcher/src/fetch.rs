//! One URI after the other: through the cache or past it, then as it is, executable, or unpacked.

use crate::archive::{self, Form};
use crate::beneath::{Directory, Relative};
use crate::dialogue::{Agent, Answer};
use crate::download::Download;
use crate::guard::Guard;
use crate::log;
use crate::places::Places;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use wire::internal::{FetchItem, FetchRequest};

/// Permissions of an executable.
const EXECUTABLE: u32 = 0o755;

/// Fetches everything.
pub(crate) fn all(request: &FetchRequest, places: &Places, agent: &Agent) -> Result<(), String> {
    for (index, item) in request.items.iter().enumerate() {
        log::info(&format!("Fetching URI '{}'", item.uri));
        let fetch = Fetch { request, item, index, agent, places };
        let at = fetch.run().map_err(|text| format!("Failed to fetch '{}': {text}", item.uri))?;
        log::info(&format!("Fetched '{}' to '{at}'", item.uri));
    }
    log::info(&format!("Successfully fetched all URIs into '{}'", request.directory));
    Ok(())
}

struct Fetch<'a> {
    request: &'a FetchRequest,
    item: &'a FetchItem,
    index: usize,
    agent: &'a Agent,
    places: &'a Places,
}

impl Fetch<'_> {
    /// Where it is at the end: a file, or the directory into which it was unpacked.
    fn run(&self) -> Result<String, String> {
        let output = Relative::parse(self.item.output.as_bytes())?;
        let download = Download::new(self.request, self.item)?;
        if let Some(cache) = self.places.cache.as_ref().filter(|_| self.item.cache)
            && let Some(file) = self.cached(&download, cache)?
        {
            log::info(&format!("Fetching URI '{}' from cache", self.item.uri));
            let at = self.place(cache, &file, &output);
            self.agent.tell(&format!("placed {}", self.index))?;
            return at;
        }
        self.directly(&download, &output)
    }

    /// Has it in the cache: the file there. None: it does not go through the cache.
    fn cached(
        &self,
        download: &Download<'_>,
        cache: &Directory,
    ) -> Result<Option<Relative>, String> {
        let index = self.index;
        let mut answer = self.agent.ask(&format!("ask {index}"))?;
        if answer == Answer::Measure {
            answer = match download.size() {
                Ok(size) => self.agent.ask(&format!("size {index} {size}"))?,
                Err(text) => {
                    self.agent.tell(&format!("unknown {index}"))?;
                    Answer::Direct(format!(
                        "Could not determine size of cache file with error: {text}"
                    ))
                }
            };
        }
        match answer {
            Answer::Get(file) => Relative::parse(file.as_bytes()).map(Some),
            Answer::Put(file) => {
                let file = Relative::parse(file.as_bytes())?;
                download.bring(cache, &file)?;
                self.agent.tell(&format!("kept {index}"))?;
                Ok(Some(file))
            }
            Answer::Direct(why) => {
                log::warn(&format!(
                    "Reverting to fetching directly into the sandbox for '{}', due to failure to fetch through the cache, with error: {why}",
                    self.item.uri
                ));
                Ok(None)
            }
            Answer::Measure => Err("the agent asks again".to_owned()),
        }
    }

    fn directly(&self, download: &Download<'_>, output: &Relative) -> Result<String, String> {
        log::info(&format!("Fetching '{}' directly into the sandbox directory", self.item.uri));
        download.bring(&self.places.sandbox, output)?;
        let path = self.shown(output);
        if self.item.executable {
            self.make_executable(output)?;
        } else if self.item.extract {
            match form(output) {
                Some(form) => {
                    self.extract(&self.places.sandbox, output, form, output)?;
                }
                None => self.warn_no_archive(),
            }
        }
        Ok(path)
    }

    /// Takes a cached file into the sandbox.
    fn place(
        &self,
        cache: &Directory,
        file: &Relative,
        output: &Relative,
    ) -> Result<String, String> {
        if self.item.extract && !self.item.executable {
            match Form::of(&self.item.name) {
                Some(form) => {
                    self.extract(cache, file, form, output)?;
                    // The peer does not know such archives and copies them, so that somebody may count on the file.
                    if !Form::is_own(&self.item.name) {
                        return Ok(self.request.directory.clone());
                    }
                }
                None => self.warn_no_archive(),
            }
        }
        let mut source = cache.read(file)?;
        let mode = source.metadata().map_err(|e| e.to_string())?.permissions().mode();
        let mut copy = self.places.sandbox.create(output, mode)?;
        Guard::new(&self.places.sandbox).copy_file(&mut source, &mut copy)?;
        if self.item.executable {
            self.make_executable(output)?;
        }
        Ok(self.shown(output))
    }

    fn extract(
        &self,
        from: &Directory,
        file: &Relative,
        form: Form,
        output: &Relative,
    ) -> Result<(), String> {
        let source = from.path().join(file.path()).display().to_string();
        let target = self.places.sandbox.path().display();
        archive::extract(from.read(file)?, form, output, &self.places.sandbox)
            .map_err(|e| format!("Failed to extract archive '{source}' to '{target}': {e}"))?;
        log::info(&format!("Extracted '{source}' into '{target}'"));
        Ok(())
    }

    fn make_executable(&self, output: &Relative) -> Result<(), String> {
        self.places
            .sandbox
            .read(output)?
            .set_permissions(Permissions::from_mode(EXECUTABLE))
            .map_err(|e| format!("Failed to chmod executable '{}': {e}", self.shown(output)))
    }

    fn warn_no_archive(&self) {
        log::warn(&format!(
            "Copying instead of extracting resource from URI with 'extract' flag, because it does not seem to be an archive: {}",
            self.item.uri
        ));
    }

    fn shown(&self, output: &Relative) -> String {
        self.places.sandbox.path().join(output.path()).display().to_string()
    }
}

fn form(output: &Relative) -> Option<Form> {
    Form::of(&output.path().file_name()?.to_string_lossy())
}
