//! What is around every page: navigation, search, how fresh it is.

use crate::assets;
use crate::format::count;
use crate::parts::utc_time;
use crate::route::Route;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::fmt::Write as _;

/// Where a page belongs in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The cluster at a glance.
    Overview,
    /// Agents.
    Agents,
    /// Frameworks.
    Frameworks,
    /// Tasks and executors.
    Tasks,
    /// Roles.
    Roles,
    /// Offers.
    Offers,
    /// Maintenance and draining.
    Maintenance,
    /// Masters.
    Masters,
    /// None of them.
    Elsewhere,
}

/// What is known of the cluster on every page.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// Name of the cluster, if it has one.
    pub cluster: Option<String>,
    /// `host:port` of the master that answers.
    pub master: String,
    /// Version of the program.
    pub version: String,
    /// `host:port` of all masters that are known, to be asked when this one is lost.
    pub masters: Vec<String>,
    /// When the data were taken, in seconds since 1970.
    pub now: f64,
    /// Registered agents, frameworks, tasks that have not ended, roles and offers.
    pub counts: [usize; 5],
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// Where it belongs.
    pub section: Section,
    /// Whether it changes with the cluster; files are followed by themselves.
    pub is_live: bool,
    pub(crate) main: Markup,
}

/// What a browser may load for a page: only what the master serves, and who leads from the other masters.
#[must_use]
pub fn security_policy(masters: &[String]) -> String {
    let mut policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'; connect-src 'self'"
        .to_owned();
    // Whatever else an address has would be read as another rule.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    for master in masters.iter().filter(|m| !m.is_empty() && m.chars().all(is_plain)) {
        let _ = write!(policy, " http://{master} https://{master}");
    }
    policy
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, section: Section, main: Markup) -> Self {
        Self { title: title.into(), section, is_live: true, main }
    }

    /// The whole page.
    #[must_use]
    pub fn whole(&self, frame: &Frame) -> String {
        let name = frame.cluster.as_deref().unwrap_or("Proffer");
        let live = if self.is_live { "on" } else { "off" };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="referrer" content="same-origin";
                    title { (self.title) " · " (name) }
                    link rel="icon" type="image/svg+xml" href=(assets::href("icon.svg"));
                    link rel="stylesheet" href=(assets::href("app.css"));
                    script src=(assets::href("theme.js")) {}
                    script type="module" src=(assets::href("app.js")) {}
                }
                body data-live=(live) data-masters=(frame.masters.join(" ")) data-name=(name) {
                    a.skip href="#main" { "Skip to the content" }
                    (self.top(frame, name))
                    p #lost .banner role="alert" hidden {}
                    div #content { (self.part(frame)) }
                    (help())
                }
            }
        };
        page.into_string()
    }

    /// What is exchanged when the page is brought up to date: all but what is around it.
    #[must_use]
    pub fn part(&self, frame: &Frame) -> Markup {
        html! {
            nav #nav aria-label="Pages" { (self.navigation(frame)) }
            main #main tabindex="-1" data-title=(self.title) data-at=(format!("{:.3}", frame.now)) {
                (self.main)
                footer {
                    "Proffer " (frame.version) " · master " (frame.master) " · data of "
                    (utc_time(frame.now))
                }
            }
        }
    }

    fn top(&self, frame: &Frame, name: &str) -> Markup {
        html! {
            header #top {
                a.brand href="/" title=(format!("{name}, master {}", frame.master)) {
                    (PreEscaped(assets::LOGO)) span { (name) }
                }
                form.find role="search" action=(Route::Search.href()) method="get" {
                    label.hidden for="find" { "Search everything" }
                    input #find type="search" name="q" autocomplete="off" spellcheck="false"
                        placeholder="Search tasks, agents, frameworks…";
                    kbd aria-hidden="true" { "/" }
                }
                @if self.is_live {
                    span #live .live role="status" title="How old what is shown is" {
                        span.dot {} span.text { "live" }
                    }
                }
                button #theme .icon type="button" title="Light or dark (d)" aria-label="Light or dark" {
                    (PreEscaped(assets::MOON))
                }
                button #keys .icon type="button" title="Keys (?)" aria-label="Keys" { "?" }
            }
        }
    }

    fn navigation(&self, frame: &Frame) -> Markup {
        let [agents, frameworks, tasks, roles, offers] = frame.counts;
        let pages = [
            (Section::Overview, Route::Overview, "Overview", None),
            (Section::Agents, Route::Agents, "Agents", Some(agents)),
            (Section::Frameworks, Route::Frameworks, "Frameworks", Some(frameworks)),
            (Section::Tasks, Route::Tasks, "Tasks", Some(tasks)),
            (Section::Roles, Route::Roles, "Roles", Some(roles)),
            (Section::Offers, Route::Offers, "Offers", Some(offers)),
            (Section::Maintenance, Route::Maintenance, "Maintenance", None),
            (Section::Masters, Route::Masters, "Masters", None),
        ];
        html! {
            ul {
                @for (section, route, name, number) in pages {
                    li {
                        a href=(route.href()) aria-current=[(section == self.section).then_some("page")] {
                            span { (name) }
                            @if let Some(number) = number {
                                span.count { (count(number as u64)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What keys do, shown with `?`.
fn help() -> Markup {
    let keys: [(&str, &[&str]); 12] = [
        ("Search here", &["/"]),
        ("Overview", &["g", "o"]),
        ("Agents", &["g", "a"]),
        ("Frameworks", &["g", "f"]),
        ("Tasks", &["g", "t"]),
        ("Roles", &["g", "r"]),
        ("Offers", &["g", "p"]),
        ("Maintenance", &["g", "m"]),
        ("Masters", &["g", "l"]),
        ("Next and previous page of a list", &["n", "p"]),
        ("Pause updates, or go on", &["u"]),
        ("Light or dark", &["d"]),
    ];
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            dl {
                @for (what, keys) in keys {
                    div {
                        dt { @for key in keys { kbd { (key) } " " } }
                        dd { (what) }
                    }
                }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}
