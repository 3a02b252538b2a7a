//! Where the labels of points stand, so that none covers another label or a point.

use plotters::prelude::*;

use super::chart::{self, Area, Drawn, Plane, UNIT, style, units};
use super::svg;
use crate::plain;

/// The size of a label, in pixels.
const LABEL: f64 = 10.5;
/// A label that is further from its point than this, in pixels, is tied to it by a line.
const NEAR: f64 = 14.0;

/// Draws labels near their points, which are in pixels; those without room are left out.
pub fn draw(
    area: &Area,
    plane: &Plane,
    labels: &[([f64; 2], &str)],
    marks: &[Block],
    lines: &[[f64; 2]],
) -> Drawn {
    let (x, y) = plane.plotting_area().get_pixel_range();
    let frame = Block([x.start, y.start, x.end, y.end].map(|v| f64::from(v) / UNIT));
    let size = |text: &str| [svg::width_of(text, LABEL), 1.15 * LABEL];
    let sizes: Vec<_> = labels.iter().map(|(at, text)| (*at, size(text))).collect();
    for ((at, text), centre) in labels.iter().zip(place(&sizes, marks, lines, &frame)) {
        let Some(centre) = centre.filter(|_| !text.is_empty()) else { continue };
        let edge = Block::around(centre, size(text)).nearest(*at);
        let [from, to, end] = [*at, centre, edge].map(|[x, y]| (units(x), units(y)));
        if (edge[0] - at[0]).hypot(edge[1] - at[1]) > NEAR {
            area.draw(&PathElement::new([from, end], chart::line(svg::FAINT, 0.7)))?;
        }
        let left = (to.0 - units(svg::width_of(text, LABEL) / 2.0), to.1);
        area.draw(&Text::new(plain(text), left, style(LABEL, svg::INK)))?;
    }
    Ok(())
}

/// Points along a line, a few pixels apart.
pub fn along([a, b]: [[f64; 2]; 2]) -> impl Iterator<Item = [f64; 2]> {
    const APART: f64 = 4.0;
    let pieces = ((b[0] - a[0]).hypot(b[1] - a[1]) / APART).ceil().clamp(1.0, 1000.0) as usize;
    (0..=pieces).map(move |i| {
        let share = i as f64 / pieces as f64;
        [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]
    })
}

/// A rectangle: left, top, right, bottom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block(pub [f64; 4]);

impl Block {
    /// Around a centre.
    pub fn around([x, y]: [f64; 2], [width, height]: [f64; 2]) -> Block {
        Block([x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0])
    }

    /// The point of the block that is nearest to another.
    pub fn nearest(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let Block([left, top, right, bottom]) = *self;
        [x.max(left).min(right), y.max(top).min(bottom)]
    }

    fn meets(&self, other: &Block) -> bool {
        let (Block([l, t, r, b]), Block([left, top, right, bottom])) = (self, other);
        l < right && left < r && t < bottom && top < b
    }

    fn within(&self, frame: &Block) -> bool {
        let (Block([l, t, r, b]), Block([left, top, right, bottom])) = (self, frame);
        left <= l && top <= t && r <= right && b <= bottom
    }
}

/// Distances from a point to the near edge of its label that are tried, in label heights.
const RINGS: [f64; 7] = [0.6, 0.9, 1.3, 1.8, 2.5, 3.5, 5.0];
/// Directions that are tried.
const DIRECTIONS: usize = 16;

/// The centres of labels of the given sizes, each near its point, and `None` where there is no room.
///
/// A label is within `frame` and meets no other label and none of `marks`. Among the free places the nearest with the
/// fewest of `lines`, which are points along lines, is taken.
pub fn place(
    labels: &[([f64; 2], [f64; 2])],
    marks: &[Block],
    lines: &[[f64; 2]],
    frame: &Block,
) -> Vec<Option<[f64; 2]>> {
    let mut taken = marks.to_vec();
    let mut centres = vec![];
    for &([x, y], [width, height]) in labels {
        let mut best: Option<(f64, [f64; 2], Block)> = None;
        for (ring, direction) in RINGS.iter().flat_map(|ring| (0..DIRECTIONS).map(move |d| (ring, d))) {
            let angle = std::f64::consts::TAU * direction as f64 / DIRECTIONS as f64;
            let (dx, dy) = (angle.cos(), -angle.sin());
            // The label's centre is as far along the direction as its box reaches, and the ring further.
            let reach = (0.5 * width / dx.abs().max(1e-9)).min(0.5 * height / dy.abs().max(1e-9));
            let far = reach + ring * height;
            let centre = [x + dx * far, y + dy * far];
            let block = Block::around(centre, [width, height]);
            if !block.within(frame) || taken.iter().any(|t| t.meets(&block)) {
                continue;
            }
            let crossed = lines.iter().filter(|p| Block::around(**p, [1.0, 1.0]).meets(&block)).count();
            let cost = ring + 0.35 * crossed as f64;
            if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                best = Some((cost, centre, block));
            }
        }
        taken.extend(best.map(|(_, _, block)| block));
        centres.push(best.map(|(_, centre, _)| centre));
    }
    centres
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_crowd_keep_clear_of_each_other() {
        let frame = Block([0.0, 0.0, 400.0, 300.0]);
        let points: Vec<[f64; 2]> =
            (0..24).map(|i| [20.0 + 15.0 * f64::from(i), 10.0 + 5.0 * f64::from(i * i % 7)]).collect();
        let size = [30.0, 12.0];
        let marks: Vec<Block> = points.iter().map(|p| Block::around(*p, [8.0, 8.0])).collect();
        let labels: Vec<_> = points.iter().map(|p| (*p, size)).collect();
        let centres = place(&labels, &marks, &[], &frame);
        let blocks: Vec<Block> = centres.iter().flatten().map(|c| Block::around(*c, size)).collect();
        assert_eq!(blocks.len(), points.len(), "all have room");
        for (i, block) in blocks.iter().enumerate() {
            assert!(block.within(&frame), "{block:?}");
            assert!(!marks.iter().chain(&blocks[..i]).any(|other| other.meets(block)), "{block:?}");
        }
        // One that is wider than the frame has none.
        assert_eq!(place(&[([200.0, 150.0], [500.0, 12.0])], &[], &[], &frame), [None]);
    }

    #[test]
    fn a_label_avoids_lines_where_it_can() {
        let frame = Block([0.0, 0.0, 200.0, 200.0]);
        let right: Vec<[f64; 2]> = (0..50).map(|i| [100.0 + f64::from(2 * i), 100.0]).collect();
        let label = [([100.0, 100.0], [40.0, 10.0])];
        let free = place(&label, &[], &[], &frame)[0].unwrap();
        let beside = place(&label, &[], &right, &frame)[0].unwrap();
        assert_eq!(free[1], 100.0, "to the right, where nothing is");
        assert!((beside[1] - 100.0).abs() > 5.0 || beside[0] < 100.0, "{beside:?}");
    }
}
