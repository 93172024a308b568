//! Plots over time, as drawings in the page.

use crate::amounts::{Amounts, NAMES};
use crate::format;
use maud::{Markup, html};
use std::fmt::Write as _;

/// The cluster at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// When, in seconds since 1970.
    pub at: f64,
    /// All resources of registered agents.
    pub total: Amounts,
    /// What is used.
    pub used: Amounts,
    /// What is offered.
    pub offered: Amounts,
    /// Tasks that run.
    pub running: u64,
}

/// Time that a plot shows, in seconds.
const SPAN: f64 = 3600.0;
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 48.0;

/// What is drawn: a name, a class for its colour, and its value at each time.
pub(crate) struct Curve<'a> {
    pub(crate) class: &'static str,
    pub(crate) value: &'a dyn Fn(&Sample) -> f64,
}

/// Areas over the last hour, from 0 to the greatest of all values.
pub(crate) fn plot(
    label: &str,
    samples: &[Sample],
    now: f64,
    curves: &[Curve<'_>],
    shown: impl Fn(f64) -> String,
) -> Markup {
    let values = curves.iter().flat_map(|curve| samples.iter().map(|s| (curve.value)(s)));
    let top = values.fold(0.0, f64::max);
    let x = |at: f64| (1.0 - (now - at) / SPAN).clamp(0.0, 1.0) * WIDTH;
    let y = |value: f64| if top > 0.0 { HEIGHT - value / top * (HEIGHT - 2.0) } else { HEIGHT };
    // So many points are as fine as the drawing.
    let step = samples.len().div_ceil(180).max(1);
    let path = |curve: &Curve<'_>| {
        let mut line = String::new();
        let points = samples.iter().step_by(step).chain(samples.last());
        for (number, sample) in points.enumerate() {
            let command = if number == 0 { 'M' } else { 'L' };
            let _ = write!(line, "{command}{:.1} {:.1}", x(sample.at), y((curve.value)(sample)));
        }
        line
    };
    let area = |line: &str| {
        let ends = samples.first().zip(samples.last());
        ends.map_or_else(String::new, |(first, last)| {
            format!("{line}L{:.1} {HEIGHT}L{:.1} {HEIGHT}Z", x(last.at), x(first.at))
        })
    };
    html! {
        figure.plot {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                aria-label=(format!("{label} over the last hour")) {
                @for quarter in 1..4 {
                    line.grid x1=(WIDTH / 4.0 * f64::from(quarter)) x2=(WIDTH / 4.0 * f64::from(quarter))
                        y1="0" y2=(HEIGHT) {}
                }
                @for curve in curves {
                    @let line = path(curve);
                    path.area.(curve.class) d=(area(&line)) {}
                    path.line.(curve.class) d=(line) {}
                }
            }
            figcaption { span { "1 h ago" } span { "max " (shown(top)) } span { "now" } }
        }
    }
}

/// Plots a resource: all of it, and what of it is used and offered.
pub(crate) fn resource(title: &str, at: usize, samples: &[Sample], now: f64) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "a drawing")]
    let of = |amounts: Amounts| amounts.0[at] as f64;
    let (total, held) = (|s: &Sample| of(s.total), |s: &Sample| of(s.used + s.offered));
    let used = |s: &Sample| of(s.used);
    let curves = [
        Curve { class: "total", value: &total },
        Curve { class: "offered", value: &held },
        Curve { class: "used", value: &used },
    ];
    #[expect(clippy::cast_possible_truncation, reason = "it was a whole number before")]
    plot(title, samples, now, &curves, |top| format::amount(NAMES[at], top as i64))
}
