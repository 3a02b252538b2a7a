//! What polynomials were fitted to.

use plotters::prelude::*;

use super::chart::{self, Drawn, Key, colour, line, units};
use super::{shown, svg};
use crate::evaluate::calibrate::evaluate;

/// A polynomial in [`fits`].
#[derive(Debug, Clone, PartialEq)]
pub struct FittedCurve {
    /// What the legend says about it.
    pub name: String,
    /// From the highest power, x⁴, to the constant.
    pub coefficients: [f64; 5],
}

/// How many pieces a curve is drawn in.
const PIECES: usize = 240;
/// The colours of curves, among [`svg::SERIES`], and their widths in pixels: the third is broad enough to be seen below the
/// fourth, which it often equals.
const LOOKS: [(usize, f64); 4] = [(4, 2.0), (7, 2.0), (2, 5.0), (0, 1.6)];
/// How much a dot covers of what is behind it: where many lie it is darker.
const COVER: f64 = 0.55;

/// Pairs (x, y) as dots, and the polynomials that were fitted to them as lines over the range of x and no further.
///
/// The axes reach over the pairs: a curve is left out where it leaves them. Pairs that are not finite are left out.
pub fn fits(title: &str, pairs: &[(f64, f64)], curves: &[FittedCurve]) -> String {
    let known = |(x, y): &&(f64, f64)| shown(*x).is_some() && shown(*y).is_some();
    let pairs: Vec<(f64, f64)> = pairs.iter().filter(known).copied().collect();
    let (low, high) =
        pairs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (x, _)| (l.min(*x), h.max(*x)));
    let across = chart::around(pairs.iter().map(|p| p.0));
    let up = chart::around(pairs.iter().map(|p| p.1));
    chart::picture(title, |area| -> Drawn {
        let names = ("x: distance of the modulated input", "y: distance of the model's output");
        let mut plane = chart::plane(area, (names.0, across), (names.1, up.clone()))?;
        let dot = colour(svg::LINE).mix(COVER).filled();
        plane.draw_series(pairs.iter().map(|pair| Circle::new(*pair, units(chart::DOT), dot)))?;
        let mut said = vec![("a step of a clip".to_string(), Key::Dot(dot))];
        for (i, curve) in curves.iter().enumerate().filter(|_| low <= high) {
            let (series, width) = LOOKS[i % LOOKS.len()];
            let look = line(svg::SERIES[series], width);
            let piece = |k: usize| low + (high - low) * k as f64 / PIECES as f64;
            let points: Vec<(f64, f64)> =
                (0..=PIECES).map(piece).map(|x| (x, evaluate(&curve.coefficients, x))).collect();
            let inside = |a: &(f64, f64), b: &(f64, f64)| up.contains(&a.1) == up.contains(&b.1);
            let runs = points.chunk_by(inside).filter(|run| up.contains(&run[0].1));
            plane.draw_series(runs.map(|run| PathElement::new(run, look)))?;
            said.push((curve.name.clone(), Key::Line(look)));
        }
        chart::legend(area, &said)
    })
}
