//! The study of offer overlap: runs it, prints its lines of JSON and draws docs/offer-overlap.svg.

use crate::run::{Failure, cargo, output};
use serde_json::Value;
use std::fmt::Write as _;

const PLOT: &str = "docs/offer-overlap.svg";
const OVERLAPS: [(&str, &str); 4] =
    [("1", "#b5c4d8"), ("2", "#6fa8dc"), ("4", "#2f6db3"), ("all", "#0b2f63")];
/// Size of the area of a panel in which lines are drawn.
const WIDTH: f64 = 230.0;
const HEIGHT: f64 = 150.0;

/// One diagram: a figure over think time, one line for each overlap.
struct Panel {
    title: &'static str,
    load: f64,
    fresh: bool,
    /// Where the figure is in a line of JSON.
    figure: &'static str,
    /// Least and greatest value, with a tick at each of these.
    ticks: &'static [f64],
    is_log: bool,
}

const SECONDS: &[f64] = &[0.1, 1.0, 10.0, 100.0];
const PARTS: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4];

const PANELS: [Panel; 6] = [
    Panel {
        title: "fast frameworks: median wait (s)",
        load: 0.8,
        fresh: true,
        figure: "/fast/p50",
        ticks: SECONDS,
        is_log: true,
    },
    Panel {
        title: "slow ones, committing to newest offers (s)",
        load: 0.8,
        fresh: true,
        figure: "/slow/p50",
        ticks: SECONDS,
        is_log: true,
    },
    Panel {
        title: "slow ones, committing to first offers (s)",
        load: 0.8,
        fresh: false,
        figure: "/slow/p50",
        ticks: SECONDS,
        is_log: true,
    },
    Panel {
        title: "conflicts of ACCEPTs, newest offers",
        load: 0.8,
        fresh: true,
        figure: "/conflict_rate",
        ticks: PARTS,
        is_log: false,
    },
    Panel {
        title: "conflicts of ACCEPTs, first offers",
        load: 0.8,
        fresh: false,
        figure: "/conflict_rate",
        ticks: PARTS,
        is_log: false,
    },
    Panel {
        title: "fairness (Jain), newest offers, load 120 %",
        load: 1.2,
        fresh: true,
        figure: "/fairness",
        ticks: &[0.85, 0.9, 0.95, 1.0],
        is_log: false,
    },
];

impl Panel {
    /// Height of a value above the lower edge.
    fn height(&self, value: f64) -> f64 {
        let (low, high) = (self.ticks[0], self.ticks[self.ticks.len() - 1]);
        let value = value.clamp(low, high);
        let part = match self.is_log {
            true => (value / low).ln() / (high / low).ln(),
            false => (value - low) / (high - low),
        };
        part * HEIGHT
    }

    /// Think time and figure of each point on the line of an overlap.
    fn line(&self, points: &[Value], overlap: &str) -> Vec<(f64, f64)> {
        let is_near = |value: &Value, wanted: f64| {
            value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-6)
        };
        let points = points.iter().filter(|p| {
            p["overlap"] == overlap && p["fresh"] == self.fresh && is_near(&p["load"], self.load)
        });
        let point = |p: &Value| Some((p["think_s"].as_f64()?, p.pointer(self.figure)?.as_f64()?));
        points.filter_map(point).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn draw(&self, points: &[Value], (left, top): (f64, f64)) -> String {
        let mut out = String::new();
        let thinks: Vec<f64> = self.line(points, "1").iter().map(|(think, _)| *think).collect();
        let step = WIDTH / (thinks.len().max(2) - 1) as f64;
        let bottom = top + HEIGHT;
        text(&mut out, (left - 30.0, top - 12.0), "start", "600", self.title);
        for tick in self.ticks {
            let y = bottom - self.height(*tick);
            let right = left + WIDTH;
            _ = writeln!(out, r##"<path d="M{left} {y:.1}H{right}" stroke="#e3e6ea"/>"##);
            text(&mut out, (left - 6.0, y + 3.5), "end", "400", &tick.to_string());
        }
        for (at, think) in thinks.iter().enumerate() {
            let x = left + at as f64 * step;
            text(&mut out, (x, bottom + 15.0), "middle", "400", &format!("{think} s"));
        }
        for (overlap, colour) in OVERLAPS {
            let line = self.line(points, overlap);
            let place = |(at, (_, figure)): (usize, &(f64, f64))| {
                (left + at as f64 * step, bottom - self.height(*figure))
            };
            let places: Vec<(f64, f64)> = line.iter().enumerate().map(place).collect();
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let path = path.join(" ");
            _ = writeln!(
                out,
                r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"#
            );
            for (x, y) in places {
                _ = writeln!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
            }
        }
        out
    }
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, weight: &str, text: &str) {
    _ = writeln!(
        out,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-weight="{weight}">{text}</text>"#
    );
}

pub(crate) fn study(arguments: &[&str]) -> Result<(), Failure> {
    let text = match arguments {
        ["--from", file] => std::fs::read_to_string(file)?,
        _ => {
            let build = ["run", "--release", "--locked", "--package", "proffer-sim"];
            let mut command = cargo(&build);
            command.args(["--bin", "overlap", "--"]).args(arguments);
            output(command)?
        }
    };
    print!("{text}");
    let parsed: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let points = parsed.map_err(|e| Failure::new(format!("the study printed no JSON: {e}")))?;
    if arguments.is_empty() || arguments.first() == Some(&"--from") {
        std::fs::write(PLOT, draw(&points))?;
        eprintln!("wrote {PLOT}");
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn draw(points: &[Value]) -> String {
    let mut out = String::new();
    let (width, height) = (3.0 * (WIDTH + 70.0) + 10.0, 2.0 * (HEIGHT + 75.0) + 55.0);
    _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" fill="#24303d">
<rect width="{width}" height="{height}" fill="#ffffff"/>"##
    );
    text(&mut out, (15.0, 24.0), "start", "600", "offer overlap:");
    for (at, (overlap, colour)) in OVERLAPS.into_iter().enumerate() {
        let x = 115.0 + at as f64 * 60.0;
        _ = writeln!(out, r#"<rect x="{x}" y="15" width="18" height="10" fill="{colour}"/>"#);
        text(&mut out, (x + 24.0, 24.0), "start", "400", overlap);
    }
    let axis =
        "across: time that slow frameworks think about a job; load 80 % where no other is named";
    text(&mut out, (370.0, 24.0), "start", "400", axis);
    for (at, panel) in PANELS.iter().enumerate() {
        let left = 45.0 + (at % 3) as f64 * (WIDTH + 70.0);
        let top = 75.0 + (at / 3) as f64 * (HEIGHT + 75.0);
        out.push_str(&panel.draw(points, (left, top)));
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_panel_has_a_line_for_each_overlap_and_stays_within_its_ticks() {
        let point = |overlap: &str, think: f64, p50: f64| {
            json!({"overlap": overlap, "think_s": think, "load": 0.8, "fresh": true,
                "fast": {"p50": p50}})
        };
        let points = [point("1", 0.0, 0.01), point("1", 10.0, 1.0), point("all", 0.0, 1e6)];
        let panel = &PANELS[0];
        assert_eq!(panel.line(&points, "1"), [(0.0, 0.01), (10.0, 1.0)]);
        assert!((panel.height(1e6) - HEIGHT).abs() < 1e-9 && panel.height(0.01).abs() < 1e-9);
        assert!((panel.height(1.0) - HEIGHT / 3.0).abs() < 1e-9);
        let drawn = draw(&points);
        assert!(drawn.contains(r#"points="45.0,225.0 275.0,175.0""#), "{drawn}");
        assert!(drawn.ends_with("</svg>\n"));
    }
}
