//! What caching gains against what it costs.

use plotters::prelude::*;

use super::chart::{self, Drawn, Key, Look, colour, line};
use super::labels::{self, Block};
use super::names::{family, kind, short_name};
use super::{shown, svg};

/// A policy in [`pareto`]: a value and half its interval for each axis.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyPoint {
    /// Its name, as `steep compare` takes it; it is shown as [`short_name`] says.
    pub policy: String,
    /// What it gains, such as how many times faster it is.
    pub gain: (f64, Option<f64>),
    /// How good it is, such as PSNR in dB; more is better.
    pub quality: (f64, Option<f64>),
}

/// The room that a point takes, in pixels.
const MARK: f64 = 13.0;

/// A chart of policies: gain to the right, quality upwards.
///
/// Policies whose names differ in the setting alone, such as `tea:0.1` and `tea:0.2`, are a family: they share colour and
/// mark and are joined by a line. A broad line joins the frontier: those that no other policy beats in one without
/// falling behind in the other. Points that are not finite are left out.
pub fn pareto(title: &str, (gain, quality): (&str, &str), points: &[PolicyPoint]) -> String {
    let known = |p: &&PolicyPoint| shown(p.gain.0).is_some() && shown(p.quality.0).is_some();
    let points: Vec<&PolicyPoint> = points.iter().filter(known).collect();
    let families = families(&points);
    let ends = |(v, half): (f64, Option<f64>)| {
        let half = half.and_then(shown).unwrap_or(0.0);
        [v - half, v + half]
    };
    let across = chart::around(points.iter().flat_map(|p| ends(p.gain)));
    let up = chart::around(points.iter().flat_map(|p| ends(p.quality)));
    chart::picture(title, |area| -> Drawn {
        let mut plane = chart::plane(area, (gain, across), (quality, up))?;
        let front = line(svg::SKIPPED, 6.0);
        plane.draw_series([PathElement::new(frontier(&points), front)])?;
        let mut said = vec![
            ("frontier: no other policy".to_string(), Key::Line(front)),
            ("is better in both".to_string(), Key::Nothing),
            ("95 % interval".to_string(), Key::Interval(line(svg::FAINT, 1.0))),
            (String::new(), Key::Nothing),
        ];

        // What labels keep clear of, in pixels.
        let (mut lines, mut marks, mut said_at) = (vec![], vec![], vec![]);
        let mut bars = vec![];
        for family in &families {
            let look = family.look;
            for point in &family.members {
                let (x, y) = (point.gain.0, point.quality.0);
                let ([left, right], [low, high]) = (ends(point.gain), ends(point.quality));
                for bar in [[(left, y), (right, y)], [(x, low), (x, high)]] {
                    bars.push(PathElement::new(bar, line(look.colour, 1.0)));
                    lines.extend(labels::along(bar.map(|end| chart::place_of(&plane, end))));
                }
            }
            let path: Vec<(f64, f64)> = family.members.iter().map(|p| (p.gain.0, p.quality.0)).collect();
            for pair in path.windows(2) {
                lines.extend(labels::along([pair[0], pair[1]].map(|end| chart::place_of(&plane, end))));
            }
            plane.draw_series([PathElement::new(path, colour(look.colour).mix(0.55).stroke_width(12))])?;
        }
        plane.draw_series(bars)?;
        for family in &families {
            let look = family.look;
            plane.draw_series(family.members.iter().map(|p| look.at((p.gain.0, p.quality.0))))?;
            said.push((family.name.clone(), Key::Mark(look)));
            for (point, label) in family.members.iter().zip(&family.settings) {
                let at = chart::place_of(&plane, (point.gain.0, point.quality.0));
                marks.push(Block::around(at, [MARK, MARK]));
                said_at.push((at, label.as_str()));
            }
        }
        said.push((String::new(), Key::Nothing));
        said.push(("number: the … in the name".to_string(), Key::Nothing));
        chart::legend(area, &said)?;

        labels::draw(area, &plane, &said_at, &marks, &lines)
    })
}

/// Policies that differ in their setting alone.
struct Family<'a> {
    name: String,
    look: Look,
    /// In the order of what they gain.
    members: Vec<&'a PolicyPoint>,
    settings: Vec<String>,
}

fn families<'a>(points: &[&'a PolicyPoint]) -> Vec<Family<'a>> {
    let mut families: Vec<(String, Vec<(&PolicyPoint, String)>)> = vec![];
    for point in points {
        let (name, setting) = family(&short_name(&point.policy));
        match families.iter_mut().find(|(known, _)| *known == name) {
            Some((_, members)) => members.push((point, setting)),
            None => families.push((name, vec![(point, setting)])),
        }
    }
    // A colour for each kind, so that `tea:…` and `tea:…:identity` are seen to be akin.
    let mut kinds: Vec<(String, usize)> = vec![];
    let look = |name: &str| {
        let at = kinds.iter().position(|(known, _)| known == kind(name)).unwrap_or_else(|| {
            kinds.push((kind(name).to_string(), 0));
            kinds.len() - 1
        });
        let look = Look::of(at, kinds[at].1);
        kinds[at].1 += 1;
        look
    };
    let looks: Vec<Look> = families.iter().map(|(name, _)| name.as_str()).map(look).collect();
    let mut whole = vec![];
    for ((name, mut members), look) in families.into_iter().zip(looks) {
        members.sort_by(|a, b| a.0.gain.0.total_cmp(&b.0.gain.0));
        let (members, settings) = members.into_iter().unzip();
        whole.push(Family { name, look, members, settings });
    }
    whole
}

/// The points that no other beats: none has more of one and as much of the other. In the order of what they gain.
fn frontier(points: &[&PolicyPoint]) -> Vec<(f64, f64)> {
    let all: Vec<(f64, f64)> = points.iter().map(|p| (p.gain.0, p.quality.0)).collect();
    let beaten = |p: &(f64, f64)| all.iter().any(|o| o.0 >= p.0 && o.1 >= p.1 && (o.0 > p.0 || o.1 > p.1));
    let mut front: Vec<(f64, f64)> = all.iter().copied().filter(|p| !beaten(p)).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    front
}
