//! Why a framework gets no offers.

use crate::format::Tone;
use crate::format::{count, duration};
use crate::parts::{agent_link, badge, link, nothing, number, table, text, time};
use crate::route::Route;
use maud::{Markup, html};

/// Why a framework gets nothing, or not more, for one of its roles.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The role.
    pub role: String,
    /// In a sentence.
    pub summary: String,
    /// Offers it holds for the role.
    pub offers: usize,
    /// Agents that were looked at.
    pub agents: usize,
    /// How long the first cause lasts, in seconds.
    pub lasts: Option<f64>,
    /// When it was last offered something.
    pub last_offer: Option<f64>,
    /// What is in the way, the most important first.
    pub causes: Vec<Cause>,
}

/// Something that is in the way on some agents.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Its name.
    pub reason: &'static str,
    /// On how many agents.
    pub agents: usize,
    /// Id of one of them.
    pub example: String,
    /// Name of that agent's host.
    pub host: String,
    /// In words, for that one.
    pub message: String,
    /// What would help.
    pub advice: String,
}

/// The answers for all roles of a framework.
pub(crate) fn section(all: &[Why], now: f64) -> Markup {
    html! {
        @if all.is_empty() { (nothing("It is subscribed to no role, so it can't be offered anything.")) }
        @for why in all {
            article.why {
                h3 {
                    "Role " (link(&Route::Role(why.role.clone()), &why.role)) " "
                    @if why.offers > 0 { (badge(Tone::Good, format!("{} open", count(why.offers as u64)))) }
                    @else { (badge(Tone::Warn, "no offer")) }
                    @if let Some(at) = why.last_offer { span.note { " last offered something " (time(now, at)) } }
                }
                p { (why.summary) }
                @if !why.causes.is_empty() {
                    details open[why.offers == 0] {
                        summary { "What is in the way, on " (count(why.agents as u64)) " agents"
                            @if let Some(seconds) = why.lasts { ", for " (duration(seconds)) } }
                        (table("What is in the way", &[number("", "Agents"), text("", "Reason"), text("", "For example"), text("", "What it means"), text("", "What would help")], &html! {
                            @for cause in &why.causes {
                                tr {
                                    td.number { (count(cause.agents as u64)) }
                                    th scope="row" { code { (cause.reason) } }
                                    td { (agent_link(&cause.example, &cause.host)) }
                                    td.prose { (cause.message) }
                                    td.prose { (cause.advice) }
                                }
                            }
                        }))
                    }
                }
            }
        }
    }
}
