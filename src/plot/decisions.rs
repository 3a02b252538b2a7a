//! Which steps policies compute, over many clips.

use std::fmt::Write;

use super::{FAINT, INK, RIGHT, escape, head, text, tick_step};

/// A policy and its decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// For each step, the share of clips that computed it, 0 to 1.
    pub computed: Vec<f64>,
}

const LEFT: f64 = 190.0;
const TOP: f64 = 64.0;
const BAND: f64 = 26.0;
/// Skipped by all, computed by all.
const ENDS: [[f64; 3]; 2] = [[246.0, 198.0, 103.0], [22.0, 50.0, 79.0]];

/// A band for each policy, a cell for each step: dark where all clips computed, yellow where all skipped.
///
/// A policy that looks at no content has only the two ends; what lies between is decided clip by clip.
pub fn decisions(title: &str, rows: &[Row]) -> String {
    let steps = rows.iter().map(|row| row.computed.len()).max().unwrap_or(0).max(1);
    let cell = (12.0 * steps as f64).clamp(420.0, 720.0) / steps as f64;
    let (width, bottom) = (LEFT + cell * steps as f64 + RIGHT, TOP + BAND * rows.len() as f64);
    let mut svg = head(title, width, bottom + 56.0);
    for (i, row) in rows.iter().enumerate() {
        let top = TOP + BAND * i as f64;
        let short: String = row.name.chars().take(24).collect();
        svg += &text((LEFT - 10.0, top + 17.0), "end", INK, &escape(&short));
        // A run of fewer steps covers the same way in larger ones.
        let cell = cell * steps as f64 / row.computed.len().max(1) as f64;
        for (step, share) in row.computed.iter().enumerate() {
            let [r, g, b] = [0, 1, 2].map(|c| ENDS[0][c] + share * (ENDS[1][c] - ENDS[0][c]));
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                r#"<rect x="{:.2}" y="{top}" width="{:.2}" height="{}" fill="rgb({r:.0},{g:.0},{b:.0})"><title>{}, step {step}: computed in {:.0} %</title></rect>"#,
                LEFT + cell * step as f64,
                cell - 0.6,
                BAND - 4.0,
                escape(&row.name),
                100.0 * share
            );
        }
    }
    for step in (0..steps).step_by(tick_step(steps as f64 / 16.0).max(1.0) as usize) {
        svg += &text((LEFT + cell * (step as f64 + 0.5), bottom + 16.0), "middle", FAINT, &step.to_string());
    }
    svg += &text(((LEFT + width - RIGHT) / 2.0, bottom + 40.0), "middle", INK, "denoising step");
    svg + "</svg>\n"
}
