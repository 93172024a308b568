//! Masters, who leads, and with which flags.

use crate::format::Tone;
use crate::frame::{Page, Section};
use crate::list::Wanted;
use crate::parts::{badge, facts, heading, nothing, search, table, text, time};
use crate::query::Query;
use maud::html;
use std::collections::BTreeMap;

/// A master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// `host:port`.
    pub address: String,
    /// Whether it leads.
    pub leads: bool,
    /// Whether its vote counts; None: votes are not those of masters.
    pub votes: Option<bool>,
}

/// What is known of masters.
#[derive(Debug)]
pub struct Masters<'a> {
    /// The leading master, which answers.
    pub info: &'a wire::v1::MasterInfo,
    /// All masters that are known.
    pub masters: Vec<Master>,
    /// When its process started.
    pub started: f64,
    /// When it began to lead.
    pub elected: Option<f64>,
    /// Its flags.
    pub flags: &'a BTreeMap<String, String>,
    /// Whether its log can be read.
    pub has_log: bool,
}

/// Makes the page.
#[must_use]
pub fn masters(model: &Masters<'_>, now: f64, query: &Query) -> Page {
    let wanted = Wanted::of(query, &[], "name");
    let flags: Vec<_> =
        model.flags.iter().filter(|(name, value)| wanted.matches(&[name, value])).collect();
    let main = html! {
        (heading("Cluster", "Masters", html! {}))
        section.panel {
            h2 { "Leader" }
            (facts(&[
                ("Host", Some(html! { (model.info.hostname()) ":" (model.info.port) })),
                ("Id", Some(html! { code { (model.info.id) } })),
                ("Version", Some(html! { (model.info.version()) })),
                ("Started", Some(time(now, model.started))),
                ("Leads since", model.elected.map(|at| time(now, at))),
                ("Log", model.has_log.then(|| html! { a href="/files/download?path=/master/log" { "download" } })),
                ("Metrics", Some(html! { a href="/metrics" { "Prometheus" } " · " a href="/metrics/snapshot" { "JSON" } })),
            ]))
        }
        section.panel {
            h2 { "Masters" }
            (table("Masters", &[text("", "Master"), text("", "State"), text("", "Registry")], &html! {
                @for master in &model.masters {
                    tr {
                        th scope="row" { (master.address) }
                        td { @if master.leads { (badge(Tone::Good, "leads")) } @else { (badge(Tone::Quiet, "stands by")) } }
                        td { (match master.votes { Some(true) => "votes", Some(false) => "learns", None => "–" }) }
                    }
                }
            }))
        }
        section.panel {
            h2 { "Flags" }
            (search(query, "Flag or value", &[]))
            @if flags.is_empty() { (nothing("No flag is like this.")) } @else {
                (table("Flags", &[text("", "Flag"), text("", "Value")], &html! {
                    @for (name, value) in flags { tr { th scope="row" { code { (name) } } td { code.wrap { (value) } } } }
                }))
            }
        }
    };
    Page::new("Masters", Section::Masters, main)
}
