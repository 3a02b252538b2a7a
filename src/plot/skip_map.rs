//! [`skip_map`] draws three panels over the denoising steps: how far the step moved (d), what
//! had been accumulated when the step was decided on, beside the threshold, and the decisions.

use std::fmt::Write;

use super::svg::{
    COMPUTED, FAINT, FORCED, GRID, INK, LIMIT, LINE, ON_COMPUTED, ON_FORCED, ON_SKIPPED, SKIPPED, document,
    heading, text, width_of,
};
use super::{number, shown, tick_step};

/// One denoising step, as [`skip_map`] draws it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepBar {
    /// `F` forced to compute, `C` computed, `S` skipped.
    pub decision: char,
    /// The relative distance d from the step before, where it was measured.
    pub distance: Option<f64>,
    /// The accumulated rescaled distance on which the step was decided.
    pub accumulated: f64,
}

/// Letter, name, colour and the colour of the letter on it. They differ in lightness, so that
/// they can be told apart without hue.
const DECISIONS: [(char, &str, &str, &str); 3] = [
    ('F', "forced", FORCED, ON_FORCED),
    ('C', "computed", COMPUTED, ON_COMPUTED),
    ('S', "skipped", SKIPPED, ON_SKIPPED),
];

const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
/// How far above a panel its caption stands.
const CAPTION: f64 = 10.0;
const LEGEND: f64 = 56.0;
/// Top and bottom of the panels.
const DISTANCE: (f64, f64) = (100.0, 206.0);
const ACCUMULATED: (f64, f64) = (250.0, 386.0);
const STRIP: (f64, f64) = (400.0, 428.0);
/// Narrow neighbours overlap by this, or the page would shine through between them.
const OVERLAP: f64 = 0.4;
const HEIGHT: f64 = 484.0;

/// The run of `steps` as an SVG document, with a dashed line at `threshold`.
///
/// Numbers that are not finite are left out.
pub fn skip_map(title: &str, steps: &[StepBar], threshold: Option<f64>) -> String {
    let plot = Plot {
        cell: (steps.len() as f64 * 24.0).clamp(480.0, 900.0) / steps.len().max(1) as f64,
        steps,
        svg: String::new(),
    };
    plot.draw(title, threshold.and_then(shown))
}

struct Plot<'a> {
    steps: &'a [StepBar],
    /// The width of a step.
    cell: f64,
    svg: String,
}

impl Plot<'_> {
    fn draw(mut self, title: &str, threshold: Option<f64>) -> String {
        let width = self.right() + RIGHT;
        self.svg = heading((LEFT, 32.0), width - LEFT - RIGHT, 1.0, title);
        self.legend();
        self.distances();
        self.accumulated(threshold);
        self.strip();
        document(title, [width, HEIGHT], 1.0, &self.svg)
    }

    fn legend(&mut self) {
        let (mut x, y) = (LEFT, LEGEND - 10.0);
        for (letter, name, colour, _) in DECISIONS {
            let count = self.steps.iter().filter(|s| s.decision == letter).count();
            self.add(format_args!(
                r#"<rect x="{x}" y="{y}" width="12" height="12" rx="2" fill="{colour}"/>"#
            ));
            let label = format!(r#"{name} <tspan fill="{FAINT}">{count}</tspan>"#);
            self.text((x + 18.0, LEGEND), "start", INK, &label);
            x += 18.0 + width_of(&format!("{name} {count}"), 12.0) + 16.0;
        }
    }

    fn distances(&mut self) {
        let values = self.steps.iter().map(|s| s.distance.and_then(shown));
        let values: Vec<_> = values.collect();
        self.caption(DISTANCE, "distance d of each step from the one before");
        if values.iter().all(Option::is_none) {
            return self.empty(DISTANCE, "not measured");
        }
        let axis = Axis::over(values.iter().flatten().copied().chain([0.0]), up(DISTANCE));
        self.axis(&axis);
        // A step without a distance breaks the line; one between two of them is a lone dot.
        let (mut line, mut dots) = (String::new(), String::new());
        let mut drawing = false;
        for (i, value) in values.iter().enumerate() {
            let Some(value) = *value else {
                drawing = false;
                continue;
            };
            let (x, y) = (self.centre(i), axis.at(value));
            let verb = if drawing { 'L' } else { 'M' };
            let alone = !drawing && values.get(i + 1).is_none_or(Option::is_none);
            drawing = true;
            line += &format!("{verb}{x:.2} {y:.2}");
            if alone || self.cell >= 9.0 {
                dots += &format!(r#"<circle cx="{x:.2}" cy="{y:.2}" r="2.6" fill="{LINE}"/>"#);
            }
        }
        self.add(format_args!(r#"<path d="{line}" fill="none" stroke="{LINE}" stroke-width="1.6"/>{dots}"#));
    }

    fn accumulated(&mut self, threshold: Option<f64>) {
        let values: Vec<_> = self.steps.iter().map(|s| shown(s.accumulated)).collect();
        self.caption(ACCUMULATED, "accumulated rescaled distance at the decision");
        if threshold.is_none() && values.iter().all(|v| v.unwrap_or(0.0) == 0.0) {
            return self.empty(ACCUMULATED, "nothing accumulated");
        }
        let numbers = values.iter().flatten().copied().chain(threshold);
        let axis = Axis::over(numbers.chain([0.0]), up(ACCUMULATED));
        self.axis(&axis);
        let zero = axis.at(0.0);
        let width = match self.cell {
            w if w >= 5.0 => (w * 0.72).min(28.0),
            w => w + OVERLAP,
        };
        for (i, value) in values.iter().enumerate() {
            let Some(value) = value.filter(|&v| v != 0.0) else {
                continue;
            };
            let (x, y) = (self.centre(i) - width / 2.0, axis.at(value));
            let (top, height) = (y.min(zero), (y - zero).abs());
            let colour = look(self.steps[i].decision).1;
            self.add(format_args!(
                r#"<rect x="{x:.2}" y="{top:.2}" width="{width:.2}" height="{height:.2}" fill="{colour}"/>"#
            ));
        }
        self.rule(zero, FAINT, "");
        if let Some(threshold) = threshold {
            let dashes = r#" stroke-width="1.4" stroke-dasharray="6 4""#;
            self.rule(axis.at(threshold), LIMIT, dashes);
            let place = (self.right(), ACCUMULATED.0 - CAPTION);
            let label = format!("threshold {}", number(threshold));
            self.text(place, "end", LIMIT, &label);
        }
    }

    fn strip(&mut self) {
        let (top, bottom) = STRIP;
        let (height, letters) = (bottom - top, self.cell >= 14.0);
        let gap = match self.cell {
            w if w >= 14.0 => 2.0,
            w if w >= 5.0 => 1.0,
            _ => -OVERLAP,
        };
        for (i, step) in self.steps.iter().enumerate() {
            let (name, colour, ink) = look(step.decision);
            let d = labelled("d", step.distance);
            let accumulated = labelled("accumulated", Some(step.accumulated));
            let (x, width) = (self.centre(i) - self.cell / 2.0, self.cell - gap);
            self.add(format_args!(
                r#"<rect class="step" x="{:.2}" y="{top}" width="{width:.2}" height="{height}" fill="{colour}"><title>step {i}: {name}{d}{accumulated}</title></rect>"#,
                x + gap.max(0.0) / 2.0,
            ));
            if letters && !ink.is_empty() {
                let place = (self.centre(i), bottom - 10.0);
                self.text(place, "middle", ink, &step.decision.to_string());
            }
        }
        let every = tick_step(self.steps.len() as f64 / 16.0).max(1.0);
        for i in (0..self.steps.len()).step_by(every as usize) {
            let (x, y) = (self.centre(i), bottom + 3.0);
            self.add(format_args!(r#"<path d="M{x:.2} {y}v5" stroke="{FAINT}"/>"#));
            self.text((x, bottom + 21.0), "middle", FAINT, &i.to_string());
        }
        let place = (self.middle(), bottom + 42.0);
        self.text(place, "middle", INK, "denoising step");
    }

    fn caption(&mut self, panel: (f64, f64), text: &str) {
        self.text((LEFT, panel.0 - CAPTION), "start", INK, text);
    }

    fn empty(&mut self, panel: (f64, f64), text: &str) {
        self.rule(panel.1, GRID, "");
        let place = (self.middle(), (panel.0 + panel.1) / 2.0);
        self.text(place, "middle", FAINT, text);
    }

    /// Grid and ticks.
    fn axis(&mut self, axis: &Axis) {
        for value in axis.ticks() {
            let y = axis.at(value);
            self.rule(y, GRID, "");
            self.text((LEFT - 10.0, y + 4.0), "end", FAINT, &number(value));
        }
    }

    fn rule(&mut self, y: f64, colour: &str, more: &str) {
        let right = self.right();
        self.add(format_args!(r#"<path d="M{LEFT} {y:.2}H{right:.2}" stroke="{colour}"{more}/>"#));
    }

    fn text(&mut self, place: (f64, f64), anchor: &str, colour: &str, label: &str) {
        self.svg += &text(place, anchor, colour, label);
    }

    fn add(&mut self, element: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.svg, "{element}");
    }

    fn centre(&self, step: usize) -> f64 {
        LEFT + (step as f64 + 0.5) * self.cell
    }

    fn middle(&self) -> f64 {
        (LEFT + self.right()) / 2.0
    }

    fn right(&self) -> f64 {
        LEFT + self.cell * self.steps.len().max(1) as f64
    }
}

/// From the bottom of a panel to its top.
fn up((top, bottom): (f64, f64)) -> [f64; 2] {
    [bottom, top]
}

/// Name, colour, and the colour of the letter.
fn look(decision: char) -> (&'static str, &'static str, &'static str) {
    let known = DECISIONS.iter().find(|d| d.0 == decision);
    known.map_or(("other", "#aab3bc", ""), |d| (d.1, d.2, d.3))
}

fn labelled(name: &str, value: Option<f64>) -> String {
    let value = value.and_then(shown);
    value.map_or(String::new(), |v| format!(", {name} {}", number(v)))
}

/// An axis whose ticks are `first·step` to `last·step`.
struct Axis {
    first: i64,
    last: i64,
    step: f64,
    /// Where the first tick and the last one are drawn.
    places: [f64; 2],
}

impl Axis {
    /// Over the values, with about four ticks.
    fn over(values: impl Iterator<Item = f64>, places: [f64; 2]) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
        let step = tick_step(if low == high { 0.25 } else { (high - low) / 4.0 });
        let first = (low / step).floor() as i64;
        let last = ((high / step).ceil() as i64).max(first + 1);
        Axis { first, last, step, places }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let step = self.step;
        (self.first..=self.last).map(move |tick| tick as f64 * step)
    }

    /// Where a value is drawn.
    fn at(&self, value: f64) -> f64 {
        let (first, last) = (self.first as f64, self.last as f64);
        let share = (value / self.step - first) / (last - first);
        self.places[0] + share * (self.places[1] - self.places[0])
    }
}
