//! Which steps policies compute, over many clips.

use std::fmt::Write;

use super::names::short_name;
use super::svg::{COMPUTED, FAINT, INK, SKIPPED, document, escape, heading, text, width_of};
use super::{number, tick_step};

/// A policy in [`decisions`].
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionBand {
    /// Its name, as `steep compare` takes it; it is shown as [`short_name`] says.
    pub policy: String,
    /// For each step, the share of clips that computed it, 0 to 1.
    pub computed: Vec<f64>,
}

const MARGIN: f64 = 20.0;
const TOP: f64 = 104.0;
const BAND: f64 = 26.0;
/// Between names, cells and sums.
const GAP: f64 = 12.0;
/// The column of sums.
const SUMS: f64 = 84.0;
/// The shares that the legend shows.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// A band for each policy and a cell for each step, in the colour of the share of clips that computed the step.
///
/// A policy that looks at no content has only the two ends; what lies between is decided clip by clip. Behind its band
/// stands how many steps the policy computes on average.
pub fn decisions(title: &str, bands: &[DecisionBand]) -> String {
    let steps = bands.iter().map(|band| band.computed.len()).max().unwrap_or(0).max(1);
    let names: Vec<String> = bands.iter().map(|band| short_name(&band.policy)).collect();
    let longest = names.iter().map(|name| width_of(name, 12.0)).fold(60.0, f64::max);
    let left = MARGIN + longest + GAP;
    let cell = (12.0 * steps as f64).clamp(480.0, 720.0) / steps as f64;
    let right = left + cell * steps as f64;
    let (width, bottom) = (right + GAP + SUMS + MARGIN, TOP + BAND * bands.len() as f64);
    let mut body = heading((MARGIN, 32.0), width - 2.0 * MARGIN, 1.0, title);

    body += &text((MARGIN, 62.0), "start", INK, "share of the clips that computed the step:");
    for (i, share) in SHARES.iter().enumerate() {
        let x = MARGIN + 280.0 + 62.0 * i as f64;
        body += &shade([x, 51.0], [14.0, 14.0], *share, "");
        body += &text((x + 19.0, 62.0), "start", INK, &format!("{:.0} %", 100.0 * share));
    }
    body += &text((MARGIN + longest, TOP - 10.0), "end", FAINT, "policy");
    body += &text((left, TOP - 10.0), "start", FAINT, "a column is a step, the first one left");
    body += &text((right + GAP, TOP - 10.0), "start", FAINT, "computed");
    for (i, (band, name)) in bands.iter().zip(&names).enumerate() {
        let top = TOP + BAND * i as f64;
        body += &text((MARGIN + longest, top + 15.0), "end", INK, &escape(name));
        // A run of fewer steps covers the same way in larger ones.
        let cell = cell * steps as f64 / band.computed.len().max(1) as f64;
        for (step, share) in band.computed.iter().enumerate() {
            let said = format!("{}, step {step}: computed in {:.0} %", escape(name), 100.0 * share);
            body += &shade([left + cell * step as f64, top], [cell - 0.6, BAND - 4.0], *share, &said);
        }
        // In tenths, so that 17.3 of 50 is not 17.33.
        let sum = number((10.0 * band.computed.iter().sum::<f64>()).round() / 10.0);
        let sum = format!("{sum} of {}", band.computed.len());
        body += &text((right + GAP, top + 15.0), "start", INK, &sum);
    }
    for step in (0..steps).step_by(tick_step(steps as f64 / 16.0).max(1.0) as usize) {
        body += &text((left + cell * (step as f64 + 0.5), bottom + 14.0), "middle", FAINT, &step.to_string());
    }
    body += &text(((left + right) / 2.0, bottom + 36.0), "middle", INK, "denoising step");
    document(title, [width, bottom + 50.0], 1.0, &body)
}

/// A cell: the colour of skipped steps, and over it that of computed ones as far as clips computed.
fn shade([x, y]: [f64; 2], [width, height]: [f64; 2], share: f64, said: &str) -> String {
    let mut cell = String::new();
    let mut rect = |colour: &str, more: &str| {
        let said = if said.is_empty() { String::new() } else { format!("<title>{said}</title>") };
        // Writing to a string cannot fail.
        let _ = writeln!(
            cell,
            r#"<rect x="{x:.2}" y="{y}" width="{width:.2}" height="{height}" fill="{colour}"{more}>{said}</rect>"#
        );
    };
    if share < 1.0 {
        rect(SKIPPED, "");
    }
    if share > 0.0 {
        let opacity = if share < 1.0 { format!(" fill-opacity=\"{share:.3}\"") } else { String::new() };
        rect(COMPUTED, &opacity);
    }
    cell
}
