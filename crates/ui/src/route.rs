//! Addresses of pages.

use crate::query::{decode, encode};

/// What a request for the UI is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The cluster at a glance.
    Overview,
    /// All agents.
    Agents,
    /// An agent, by its id.
    Agent(String),
    /// All frameworks.
    Frameworks,
    /// A framework, by its id.
    Framework(String),
    /// All tasks.
    Tasks,
    /// A task or an executor.
    Place(Place),
    /// A directory or file of its sandbox.
    Files(Place),
    /// A piece of a file of its sandbox, as bytes.
    Read(Place),
    /// A whole file of its sandbox.
    Download(Place),
    /// All roles.
    Roles,
    /// A role, by its name.
    Role(String),
    /// All offers.
    Offers,
    /// Maintenance, draining, machines that are away.
    Maintenance,
    /// Masters and flags.
    Masters,
    /// Whatever has a name or id like this.
    Search,
    /// The stream that tells when to look again.
    Events,
    /// Who leads, as JSON.
    Leader,
    /// A file of the UI itself.
    Asset(String),
}

/// What has a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A task of a framework.
    Task {
        /// Id of the framework.
        framework: String,
        /// Id of the task.
        task: String,
    },
    /// An executor of a framework on an agent.
    Executor {
        /// Id of the framework.
        framework: String,
        /// Id of the agent.
        agent: String,
        /// Id of the executor.
        executor: String,
    },
}

impl Route {
    /// The page of a path that is still percent-encoded; None: it is not one of the UI.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        if matches!(path, "" | "/ui") {
            return Some(Route::Overview);
        }
        let path = path.strip_prefix("/ui/")?;
        let parts: Vec<String> = path.split('/').map(|part| decode(part, false)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let text = |text: &str| text.to_owned();
        Some(match parts.as_slice() {
            ["agents"] => Route::Agents,
            ["agents", id] => Route::Agent(text(id)),
            ["frameworks"] => Route::Frameworks,
            ["frameworks", id] => Route::Framework(text(id)),
            ["frameworks", framework, "tasks", task, rest @ ..] => {
                let place = Place::Task { framework: text(framework), task: text(task) };
                Self::of_place(place, rest)?
            }
            ["frameworks", framework, "executors", agent, executor, rest @ ..] => {
                let (framework, agent) = (text(framework), text(agent));
                Self::of_place(
                    Place::Executor { framework, agent, executor: text(executor) },
                    rest,
                )?
            }
            ["tasks"] => Route::Tasks,
            ["roles"] => Route::Roles,
            ["roles", name] => Route::Role(text(name)),
            ["offers"] => Route::Offers,
            ["maintenance"] => Route::Maintenance,
            ["masters"] => Route::Masters,
            ["search"] => Route::Search,
            ["events"] => Route::Events,
            ["leader"] => Route::Leader,
            ["assets", name] => Route::Asset(text(name)),
            _ => return None,
        })
    }

    fn of_place(place: Place, rest: &[&str]) -> Option<Self> {
        Some(match rest {
            [] => Route::Place(place),
            ["files"] => Route::Files(place),
            ["read"] => Route::Read(place),
            ["download"] => Route::Download(place),
            _ => return None,
        })
    }

    /// The path of the page, percent-encoded.
    #[must_use]
    pub fn href(&self) -> String {
        match self {
            Route::Overview => "/".to_owned(),
            Route::Agents => "/ui/agents".to_owned(),
            Route::Agent(id) => format!("/ui/agents/{}", encode(id)),
            Route::Frameworks => "/ui/frameworks".to_owned(),
            Route::Framework(id) => format!("/ui/frameworks/{}", encode(id)),
            Route::Tasks => "/ui/tasks".to_owned(),
            Route::Place(place) => place.href(),
            Route::Files(place) => format!("{}/files", place.href()),
            Route::Read(place) => format!("{}/read", place.href()),
            Route::Download(place) => format!("{}/download", place.href()),
            Route::Roles => "/ui/roles".to_owned(),
            Route::Role(name) => format!("/ui/roles/{}", encode(name)),
            Route::Offers => "/ui/offers".to_owned(),
            Route::Maintenance => "/ui/maintenance".to_owned(),
            Route::Masters => "/ui/masters".to_owned(),
            Route::Search => "/ui/search".to_owned(),
            Route::Events => "/ui/events".to_owned(),
            Route::Leader => "/ui/leader".to_owned(),
            Route::Asset(name) => format!("/ui/assets/{}", encode(name)),
        }
    }
}

impl Place {
    /// A task of a framework.
    #[must_use]
    pub fn task(framework: &str, task: &str) -> Self {
        Self::Task { framework: framework.to_owned(), task: task.to_owned() }
    }

    /// An executor of a framework on an agent.
    #[must_use]
    pub fn executor(framework: &str, agent: &str, executor: &str) -> Self {
        let (framework, agent) = (framework.to_owned(), agent.to_owned());
        Self::Executor { framework, agent, executor: executor.to_owned() }
    }

    /// Id of its framework.
    #[must_use]
    pub fn framework(&self) -> &str {
        match self {
            Place::Task { framework, .. } | Place::Executor { framework, .. } => framework,
        }
    }

    /// Its own id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Place::Task { task, .. } => task,
            Place::Executor { executor, .. } => executor,
        }
    }

    /// The path of its page.
    #[must_use]
    pub fn href(&self) -> String {
        match self {
            Place::Task { framework, task } => {
                format!("/ui/frameworks/{}/tasks/{}", encode(framework), encode(task))
            }
            Place::Executor { framework, agent, executor } => format!(
                "/ui/frameworks/{}/executors/{}/{}",
                encode(framework),
                encode(agent),
                encode(executor)
            ),
        }
    }
}

/// Why a path is not one below a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPath;

impl std::fmt::Display for BadPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("The path leads out of the sandbox: expected one below it, without '..'")
    }
}

/// A path below a sandbox in its simplest form: no empty parts, no `.`.
///
/// # Errors
/// When it has `..` or a zero byte.
pub fn relative_path(path: &str) -> Result<String, BadPath> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<&str> = parts.collect();
    match path.contains('\0') || parts.contains(&"..") {
        true => Err(BadPath),
        false => Ok(parts.join("/")),
    }
}
