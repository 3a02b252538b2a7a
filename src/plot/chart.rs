//! Charts of two axes.

use std::fmt::Write;

use super::{Axis, FAINT, GRID, INK, LEFT, LIMIT, LINE, RIGHT, escape, head, number, shown, text};
use crate::evaluate::calibrate::evaluate;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 484.0;
/// Top and bottom of the plane.
const PLANE: (f64, f64) = (64.0, 424.0);
/// Told apart by lightness as well as by hue.
const COLOURS: [&str; 6] = ["#16324f", "#c2342b", "#3d8bc4", "#b8860b", "#2f7d6b", "#8d5fa8"];
/// A curve has so many pieces.
const PIECES: usize = 120;

/// A policy in [`pareto`].
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its name; without what follows the first `:` it is its family's, which shares a colour and a line.
    pub name: String,
    /// How many times faster, and half its interval.
    pub x: (f64, Option<f64>),
    /// The quality, and half its interval.
    pub y: (f64, Option<f64>),
}

/// What caching gains against what it costs: a point for each policy, a line for each family of policies, a ring around
/// those that no other beats in both.
///
/// Points that are not finite are left out.
pub fn pareto(title: &str, (x, y): (&str, &str), points: &[Point]) -> String {
    let known = |p: &&Point| shown(p.x.0).is_some() && shown(p.y.0).is_some();
    let points: Vec<&Point> = points.iter().filter(known).collect();
    let span = |(v, half): (f64, Option<f64>)| {
        let half = half.and_then(shown).unwrap_or(0.0);
        [v - half, v + half]
    };
    let mut chart = Chart::new(
        title,
        (x, points.iter().flat_map(|p| span(p.x)).chain([1.0]).collect()),
        (y, points.iter().flat_map(|p| span(p.y)).collect()),
    );
    let mut families: Vec<String> = vec![];
    for point in &points {
        let family = family(&point.name);
        if !families.contains(&family) {
            families.push(family);
        }
    }
    let mut taken: Vec<[f64; 2]> = vec![];
    for (i, name) in families.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut members: Vec<&&Point> = points.iter().filter(|p| family(&p.name) == *name).collect();
        members.sort_by(|a, b| a.x.0.total_cmp(&b.x.0));
        let path: Vec<[f64; 2]> = members.iter().map(|p| chart.at(p.x.0, p.y.0)).collect();
        chart.line(&path, colour, r#" stroke-width="1.4""#);
        for (point, [x, y]) in members.iter().zip(path) {
            let ([left, right], [low, high]) = (span(point.x), span(point.y));
            let ([left, top], [right, bottom]) = (chart.at(left, high), chart.at(right, low));
            chart.add(format_args!(
                r#"<path d="M{left:.2} {y:.2}H{right:.2}M{x:.2} {top:.2}V{bottom:.2}" stroke="{colour}" stroke-opacity="0.45"/>"#
            ));
            let beaten = points.iter().any(|other| {
                other.x.0 >= point.x.0
                    && other.y.0 >= point.y.0
                    && (other.x.0 > point.x.0 || other.y.0 > point.y.0)
            });
            if !beaten {
                chart.add(format_args!(
                    r#"<circle cx="{x:.2}" cy="{y:.2}" r="7" fill="none" stroke="{colour}"/>"#
                ));
            }
            let (px, py) = (number(point.x.0), number(point.y.0));
            let label = escape(&point.name);
            chart.add(format_args!(
                r#"<circle class="point" cx="{x:.2}" cy="{y:.2}" r="3.6" fill="{colour}"><title>{label}: {px}, {py}</title></circle>"#
            ));
            // Labels step down until they stand clear of those before.
            let mut label_y = y - 8.0;
            while taken.iter().any(|t| (t[0] - x).abs() < 110.0 && (t[1] - label_y).abs() < 12.0) {
                label_y += 12.0;
            }
            taken.push([x, label_y]);
            let left = x > chart.right() - 110.0;
            let (anchor, x) = if left { ("end", x - 8.0) } else { ("start", x + 8.0) };
            chart.svg += &text((x, label_y), anchor, colour, &label);
        }
    }
    chart.svg + "</svg>\n"
}

/// A policy's name without its number: `tea` of `tea:0.1`, `tea:identity` of `tea:0.1:identity`.
fn family(name: &str) -> String {
    name.split(':').enumerate().filter(|(i, _)| *i != 1).map(|(_, part)| part).collect::<Vec<_>>().join(":")
}

/// Pairs (x, y) and the polynomials that were fitted to them: names, and coefficients from the highest power.
pub fn fits(title: &str, pairs: &[(f64, f64)], curves: &[(String, [f64; 5])]) -> String {
    let pairs: Vec<(f64, f64)> =
        pairs.iter().filter(|(x, y)| shown(*x).is_some() && shown(*y).is_some()).copied().collect();
    let (xs, ys): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (low, high) = xs.iter().fold((f64::INFINITY, 0.0f64), |(l, h), x| (l.min(*x), h.max(*x)));
    let caption = ("distance of the modulated input, x", "distance of the output, y");
    let zero = |mut values: Vec<f64>| {
        values.push(0.0);
        values
    };
    let mut chart = Chart::new(title, (caption.0, zero(xs)), (caption.1, zero(ys)));
    for (x, y) in &pairs {
        let [x, y] = chart.at(*x, *y);
        chart.add(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="1.6" fill="{LINE}" fill-opacity="0.25"/>"#
        ));
    }
    for (i, (name, coefficients)) in curves.iter().enumerate() {
        let colour = [INK, "#3d8bc4", "#b8860b", LIMIT][i % 4];
        let piece = |k: usize| low + (high - low) * k as f64 / PIECES as f64;
        let points = (0..=PIECES).map(piece).map(|x| (x, evaluate(coefficients, x)));
        let path: Vec<_> = points.filter(|(_, y)| shown(*y).is_some()).map(|(x, y)| chart.at(x, y)).collect();
        chart.line(&path, colour, r#" stroke-width="1.6""#);
        let y = PLANE.0 + 14.0 + 16.0 * i as f64;
        chart.add(format_args!(
            r#"<path d="M{:.1} {:.1}h22" stroke="{colour}" stroke-width="1.6"/>"#,
            LEFT + 14.0,
            y - 4.0
        ));
        chart.svg += &text((LEFT + 42.0, y), "start", INK, &escape(name));
    }
    chart.svg + "</svg>\n"
}

struct Chart {
    svg: String,
    x: Axis,
    y: Axis,
}

impl Chart {
    /// Title, grid, and the two axes over their values.
    fn new(title: &str, x: (&str, Vec<f64>), y: (&str, Vec<f64>)) -> Chart {
        let (top, bottom) = PLANE;
        let mut chart = Chart {
            svg: head(title, WIDTH, HEIGHT),
            x: Axis::over(x.1.into_iter(), [LEFT, WIDTH - RIGHT]),
            y: Axis::over(y.1.into_iter(), [bottom, top]),
        };
        let right = chart.right();
        let across: Vec<(f64, f64)> = chart.x.ticks().map(|v| (v, chart.x.at(v))).collect();
        let up: Vec<(f64, f64)> = chart.y.ticks().map(|v| (v, chart.y.at(v))).collect();
        for (value, x) in across {
            chart.add(format_args!(r#"<path d="M{x:.2} {top}V{bottom}" stroke="{GRID}"/>"#));
            chart.svg += &text((x, bottom + 18.0), "middle", FAINT, &number(value));
        }
        for (value, y) in up {
            chart.add(format_args!(r#"<path d="M{LEFT} {y:.2}H{right:.2}" stroke="{GRID}"/>"#));
            chart.svg += &text((LEFT - 10.0, y + 4.0), "end", FAINT, &number(value));
        }
        chart.svg += &text(((LEFT + right) / 2.0, bottom + 42.0), "middle", INK, &escape(x.0));
        chart.svg += &text((LEFT, top - 10.0), "start", INK, &escape(y.0));
        // What leaves the plane is not drawn.
        chart.add(format_args!(
            r#"<clipPath id="plane"><rect x="{LEFT}" y="{top}" width="{:.1}" height="{:.1}"/></clipPath>"#,
            right - LEFT,
            bottom - top
        ));
        chart
    }

    fn line(&mut self, path: &[[f64; 2]], colour: &str, more: &str) {
        let points: String = path.iter().map(|[x, y]| format!("{x:.2},{y:.2} ")).collect();
        self.add(format_args!(
            r#"<polyline points="{}" clip-path="url(#plane)" fill="none" stroke="{colour}"{more}/>"#,
            points.trim_end()
        ));
    }

    fn at(&self, x: f64, y: f64) -> [f64; 2] {
        [self.x.at(x), self.y.at(y)]
    }

    fn right(&self) -> f64 {
        WIDTH - RIGHT
    }

    fn add(&mut self, element: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.svg, "{element}");
    }
}
