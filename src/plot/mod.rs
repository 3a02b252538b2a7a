//! Pictures, as SVG that stands alone: a run's decisions ([`skip_map`]), policies' decisions over many clips
//! ([`decisions`]), what caching gains against what it costs ([`pareto`]), and what a polynomial was fitted to ([`fits`]).

mod chart;
mod decisions;
mod skip_map;

pub use chart::{Point, fits, pareto};
pub use decisions::{Row, decisions};
pub use skip_map::{StepBar, skip_map};

const INK: &str = "#1f2933";
const FAINT: &str = "#66727f";
const GRID: &str = "#e4e8ec";
const LINE: &str = "#2f7d6b";
const LIMIT: &str = "#c2342b";

const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TITLE: f64 = 32.0;
/// How far above a panel its caption stands.
const CAPTION: f64 = 10.0;

/// The beginning of a picture: everything up to and with its title.
fn head(title: &str, width: f64, height: f64) -> String {
    let size = fit(title, width - LEFT - RIGHT);
    let title = escape(title);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height}"
viewBox="0 0 {width:.0} {height}" role="img" font-size="12" fill="{INK}"
font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif">
<title>{title}</title>
<rect width="100%" height="100%" fill="white"/>
<text x="{LEFT}" y="{TITLE}" font-size="{size:.1}" font-weight="600">{title}</text>
"#
    )
}

/// `label` is XML.
fn text((x, y): (f64, f64), anchor: &str, colour: &str, label: &str) -> String {
    format!("<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{label}</text>\n")
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

/// The largest size, up to 17, at which a text of ordinary letters keeps to a width.
fn fit(text: &str, width: f64) -> f64 {
    (width / (0.6 * text.chars().count().max(1) as f64)).clamp(8.0, 17.0)
}

/// As XML text. Control characters, which XML cannot hold, become spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
