//! Open offers.

use crate::amounts::Amounts;
use crate::format::Tone;
use crate::frame::{Page, Section};
use crate::list::Wanted;
use crate::parts::{
    Column, agent_link, amount, badge, chips, framework_link, heading, id, keys, link, nothing,
    number, pager, search, sortable, table, text,
};
use crate::query::Query;
use crate::route::Route;
use maud::{Markup, html};

/// An open offer.
#[derive(Debug, Clone, Copy)]
pub struct OfferRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// Id of the framework it was made to.
    pub framework: &'a str,
    /// Name of that framework.
    pub framework_name: &'a str,
    /// Id of the agent.
    pub agent: &'a str,
    /// Name of its host.
    pub host: &'a str,
    /// For which role.
    pub role: &'a str,
    /// What.
    pub amounts: Amounts,
    /// Whether others may be offered the same.
    pub is_soft: bool,
}

const COLUMNS: &[Column] = &[
    text("id", "Offer"),
    text("framework", "Framework"),
    text("role", "Role"),
    text("host", "Agent"),
    number("cpus", "CPUs"),
    number("mem", "Memory"),
    number("disk", "Disk"),
    number("gpus", "GPUs"),
    text("", "Kind"),
];

/// Makes the list of offers.
#[must_use]
pub fn offers(all: Vec<OfferRow<'_>>, query: &Query) -> Page {
    let wanted = Wanted::of(query, &keys(COLUMNS), "framework");
    let (framework, agent, role) = (query.get("framework"), query.get("agent"), query.get("role"));
    let chosen = all.into_iter().filter(|offer| {
        framework.is_none_or(|id| id == offer.framework)
            && agent.is_none_or(|id| id == offer.agent)
            && role.is_none_or(|role| role == offer.role)
            && wanted.matches(&[
                offer.id,
                offer.framework_name,
                offer.framework,
                offer.host,
                offer.role,
            ])
    });
    let paged = wanted.page(chosen.collect(), |a, b| {
        let of = |at: usize| a.amounts.0[at].cmp(&b.amounts.0[at]);
        let order = match wanted.sort {
            "id" => a.id.cmp(b.id),
            "role" => a.role.cmp(b.role),
            "host" => a.host.cmp(b.host),
            "cpus" => of(0),
            "mem" => of(1),
            "disk" => of(2),
            "gpus" => of(3),
            _ => a.framework_name.cmp(b.framework_name),
        };
        order.then_with(|| a.id.cmp(b.id))
    });
    let main = html! {
        (heading("Cluster", "Offers", html! {}))
        (search(query, "Framework, role, host or id", &[]))
        (chips(query, &[("framework", "Framework"), ("agent", "Agent"), ("role", "Role")]))
        @if paged.found == 0 { (nothing("No offer is open. A framework's page says why it gets none.")) } @else {
            (sortable("Offers", COLUMNS, query, &wanted, &rows(&paged.rows)))
            (pager(query, &paged, "offers"))
        }
    };
    Page::new("Offers", Section::Offers, main)
}

/// Offers on another page.
pub(crate) fn offer_table(offers: &[OfferRow<'_>]) -> Markup {
    let columns = COLUMNS.iter().map(|column| Column { key: "", ..*column }).collect::<Vec<_>>();
    table("Open offers", &columns, &rows(offers))
}

fn rows(offers: &[OfferRow<'_>]) -> Markup {
    html! {
        @for offer in offers {
            tr {
                th scope="row" { (id(offer.id)) }
                td { (framework_link(offer.framework, offer.framework_name)) }
                td { (link(&Route::Role(offer.role.to_owned()), offer.role)) }
                td { (agent_link(offer.agent, offer.host)) }
                @for at in 0..4 { td.number { (amount(at, offer.amounts)) } }
                td {
                    @if offer.is_soft {
                        span title="Others may be offered the same; the first who accepts has it" { (badge(Tone::Busy, "shared")) }
                    } @else { span.none { "exclusive" } }
                }
            }
        }
    }
}
