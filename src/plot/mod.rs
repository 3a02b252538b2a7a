//! Pictures, as SVG that stands alone and follows the reader's light or dark mode: a run's decisions ([`skip_map`]),
//! policies' decisions over many clips ([`decisions`]), what caching gains against what it costs ([`pareto`]), what
//! polynomials were fitted to ([`fits`]), and what ops reach of a machine's limits ([`roofline`]).
//!
//! Charts with two axes of numbers are drawn with the crate `plotters`.

mod chart;
mod decisions;
mod fits;
mod labels;
mod names;
mod pareto;
mod roofline;
mod skip_map;
mod svg;

pub use decisions::{DecisionBand, decisions};
pub use fits::{FittedCurve, fits};
pub use names::short_name;
pub use pareto::{PolicyPoint, pareto};
pub use roofline::{RooflinePoint, Roofs, roofline};
pub use skip_map::{StepBar, skip_map};

/// The number of 1, 2, 5, 10, 20, ... that is `at_least` or the next above.
fn tick_step(at_least: f64) -> f64 {
    let power = 10f64.powi(at_least.max(1e-300).log10().floor() as i32);
    let fits = [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= at_least);
    fits.unwrap_or(10.0) * power
}

/// What a picture can show: not infinite, and not so large that the axis would be.
fn shown(v: f64) -> Option<f64> {
    let v = if v.abs() < 1e-290 { 0.0 } else { v };
    (v.abs() < 1e290).then_some(v)
}

/// At most four significant digits.
fn number(v: f64) -> String {
    if v == 0.0 {
        return "0".into();
    }
    let power = v.abs().log10().floor() as i32;
    if !(-4..5).contains(&power) {
        return format!("{}e{power}", number(v / 10f64.powi(power)));
    }
    let text = format!("{v:.*}", (3 - power).max(0) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}
