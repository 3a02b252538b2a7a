//! What ops reach of what a machine can do at best: the roofline of Williams, Waterman and Patterson (2009).

use plotters::prelude::*;

use super::chart::{self, Drawn, Key, Look, line};
use super::labels::{self, Block};
use super::{shown, svg};

/// A dot of [`roofline`].
#[derive(Debug, Clone, PartialEq)]
pub struct RooflinePoint {
    /// Dots with one name share their look, and a line of the legend.
    pub series: String,
    /// What stands beside the dot, such as a shape; nothing where it is empty.
    pub label: String,
    /// Operations for each byte that must be moved.
    pub intensity: f64,
    /// 10⁹ operations per second.
    pub rate: f64,
}

/// What the machine can do at best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofs {
    /// A copy, in 10⁹ bytes per second.
    pub copy: f64,
    /// A large matrix product, in 10⁹ operations per second; where nobody measured one, the slope has no end.
    pub matmul: Option<f64>,
}

/// From a power of ten to another, and a bit more, so that no dot stands on the frame.
fn decades(logarithms: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = logarithms.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
    (low - 0.1).floor()..(high + 0.1).ceil()
}

/// The room that a dot takes, in pixels.
const MARK: f64 = 12.0;
/// More lines of a legend have no room.
const LEGEND: usize = 17;
/// More labels cannot be read.
const LABELS: usize = 24;

/// A chart of ops: operations per byte to the right, operations per second upwards, both logarithmic. No op can be above
/// the roof unless a cache holds its operands. Points that are not positive and finite are left out, and so are labels where
/// there are more than two dozen.
pub fn roofline(title: &str, roofs: Roofs, points: &[RooflinePoint]) -> String {
    let log = |v: f64| shown(v).filter(|&v| v > 0.0).map(f64::log10);
    let points: Vec<(&RooflinePoint, (f64, f64))> =
        points.iter().filter_map(|p| Some((p, (log(p.intensity)?, log(p.rate)?)))).collect();
    let slope = log(roofs.copy).unwrap_or(0.0);
    let flat = roofs.matmul.and_then(log);
    let ridge = flat.map(|flat| flat - slope);
    let across = decades(points.iter().map(|(_, at)| at.0).chain(ridge));
    let roof = |x: f64| flat.map_or(slope + x, |flat| flat.min(slope + x));
    let up = decades(points.iter().map(|(_, at)| at.1).chain([roof(across.end)]));
    let mut series: Vec<&str> = vec![];
    for (point, _) in &points {
        if !series.contains(&point.series.as_str()) {
            series.push(&point.series);
        }
    }
    let look = |name: &str| {
        let at = series.iter().position(|known| *known == name).unwrap_or_default();
        Look::of(at, at / svg::SERIES.len())
    };
    chart::picture(title, |area| -> Drawn {
        let (x, y) = ("operations per byte", "10⁹ operations per second");
        let (ends, lowest) = ([across.start, across.end], up.start);
        let mut plane = chart::logarithmic_plane(area, (x, across), (y, up))?;
        let style = line(svg::LIMIT, 2.0);
        let inside = |x: &f64| ends[0] < *x && *x < ends[1];
        // The slope begins where it enters the plane.
        let corners = [Some(ends[0].max(lowest - slope)), ridge.filter(inside), Some(ends[1])];
        let path: Vec<(f64, f64)> = corners.into_iter().flatten().map(|x| (x, roof(x))).collect();
        let pixels: Vec<_> = path.iter().map(|&at| chart::place_of(&plane, at)).collect();
        let lines: Vec<_> = pixels.windows(2).flat_map(|pair| labels::along([pair[0], pair[1]])).collect();
        plane.draw_series([PathElement::new(path, style)])?;
        let mut said = vec![(format!("copy {:.1} GB/s", roofs.copy), Key::Line(style))];
        if let Some(matmul) = roofs.matmul {
            said.push((format!("matrix product {matmul:.0} GFLOP/s"), Key::Line(style)));
        }
        said.push(("above: in a cache".into(), Key::Nothing));
        if series.len() < LEGEND {
            said.push((String::new(), Key::Nothing));
        }
        for name in series.iter().take(LEGEND) {
            said.push((name.to_string(), Key::Mark(look(name))));
        }
        if series.len() > LEGEND {
            said.push((format!("and {} more", series.len() - LEGEND), Key::Nothing));
        }
        plane.draw_series(points.iter().map(|(point, at)| look(&point.series).at(*at)))?;
        let pixels = points.iter().map(|(point, at)| (chart::place_of(&plane, *at), point.label.as_str()));
        let mut named: Vec<_> = pixels.collect();
        if named.iter().filter(|(_, label)| !label.is_empty()).count() > LABELS {
            named.iter_mut().for_each(|(_, label)| *label = "");
        }
        let marks: Vec<_> = named.iter().map(|(at, _)| Block::around(*at, [MARK, MARK])).collect();
        chart::legend(area, &said)?;
        labels::draw(area, &plane, &named, &marks, &lines)
    })
}
