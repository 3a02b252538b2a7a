//! Does the thing move as it should: straight on, and back from the walls?
//!
//! The path is the centroid of the lit pixels (0.1 of [0, 1] or more, the mean over channels, weighed by brightness) of
//! each frame, in pixels. A digit of Moving MNIST moves by the same step every frame and turns back at the border, each
//! axis for itself, so between two turns the second difference of the path is zero.

use super::{LIT, check, mean, unit};
use crate::Result;
use crate::video::Video;

/// A velocity, in pixels a frame, below which a change of sign is jitter and no turn.
const STILL: f64 = 0.25;
/// A turn is at a wall if the lit pixels come this near to it, as a share of the frame's side.
const NEAR: f64 = 0.2;

/// How a clip moves by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// Root mean square of the path's second difference, axis by axis, in pixels a frame², without those that touch a
    /// turn. 0 for a digit that moves straight on. NaN where nothing is left to measure.
    pub jitter: f64,
    /// The longest way between two frames, in pixels. NaN where no two neighbours are lit.
    pub jump: f64,
    /// How often the path turns back, both axes together.
    pub turns: usize,
    /// How many of those happen with the lit pixels near a wall. A thin digit turns further away: its box is wider.
    pub at_wall: usize,
    /// Frames with nothing lit, which have no centroid.
    pub lost: usize,
}

impl Motion {
    /// Of a clip.
    pub fn of(clip: &Video) -> Result<Motion> {
        clip.check("motion")?;
        let places: Vec<Option<Place>> = (0..clip.frames).map(|f| Place::of(clip, f)).collect();
        let mut motion = Motion {
            jitter: 0.0,
            jump: f64::NAN,
            turns: 0,
            at_wall: 0,
            lost: places.iter().filter(|p| p.is_none()).count(),
        };
        let mut squares = vec![];
        // A frame without a centroid breaks the path.
        for path in places.split(Option::is_none) {
            let path: Vec<&Place> = path.iter().flatten().collect();
            for pair in path.windows(2) {
                let [dy, dx] = [0, 1].map(|axis| pair[1].centre[axis] - pair[0].centre[axis]);
                motion.jump = motion.jump.max(dy.hypot(dx));
            }
            for (axis, side) in [(0, clip.height), (1, clip.width)] {
                motion.follow(&path, axis, side, &mut squares);
            }
        }
        motion.jitter = mean(squares.into_iter()).sqrt();
        Ok(motion)
    }

    /// One axis of an unbroken path: finds the turns, and squares the second differences that touch none.
    fn follow(&mut self, path: &[&Place], axis: usize, side: usize, squares: &mut Vec<f64>) {
        let v: Vec<f64> = path.windows(2).map(|p| p[1].centre[axis] - p[0].centre[axis]).collect();
        let mut steady = vec![true; v.len() + 1];
        let mut last: Option<usize> = None;
        for k in (0..v.len()).filter(|&k| v[k].abs() > STILL) {
            if let Some(j) = last.filter(|&j| v[j] * v[k] < 0.0) {
                // The turn lies within one of the steps j to k, each of which touches two differences.
                steady[j..=k + 1].fill(false);
                let gap = |p: &&&Place| match v[j] > 0.0 {
                    true => side as f64 - 1.0 - p.last[axis],
                    false => p.first[axis],
                };
                self.turns += 1;
                let near = path[j..=k + 1].iter().any(|p| gap(&p) <= NEAR * side as f64);
                self.at_wall += usize::from(near);
            }
            last = Some(k);
        }
        squares.extend((1..v.len()).filter(|&i| steady[i]).map(|i| (v[i] - v[i - 1]).powi(2)));
    }
}

/// The mean distance between the velocities of two clips' centroids, in pixels a frame.
///
/// Over pairs of frames that are lit in both; NaN where there are none.
pub fn velocity_error(a: &Video, b: &Video) -> Result<f64> {
    check("velocity_error", a, b)?;
    let path = |clip: &Video| (0..clip.frames).map(|f| Some(Place::of(clip, f)?.centre)).collect::<Vec<_>>();
    let (a, b) = (path(a), path(b));
    let step = |from: Option<[f64; 2]>, to: Option<[f64; 2]>| {
        let (from, to) = (from?, to?);
        Some([to[0] - from[0], to[1] - from[1]])
    };
    let error = |i: usize| {
        let (va, vb) = (step(a[i - 1], a[i])?, step(b[i - 1], b[i])?);
        Some((va[0] - vb[0]).hypot(va[1] - vb[1]))
    };
    Ok(mean((1..a.len()).filter_map(error)))
}

/// Where the lit pixels of a frame are: rows, columns.
struct Place {
    centre: [f64; 2],
    /// The smallest and the largest that is lit.
    first: [f64; 2],
    last: [f64; 2],
}

impl Place {
    /// None where nothing is lit.
    fn of(clip: &Video, frame: usize) -> Option<Place> {
        let mut weight = 0.0;
        let mut place = Place { centre: [0.0; 2], first: [f64::INFINITY; 2], last: [0.0; 2] };
        for i in 0..clip.height * clip.width {
            let value = mean((0..clip.channels).map(|c| unit(clip.plane(frame, c)[i])));
            if value >= LIT {
                weight += value;
                for (axis, at) in [i / clip.width, i % clip.width].into_iter().enumerate() {
                    let at = at as f64;
                    place.centre[axis] += value * at;
                    place.first[axis] = place.first[axis].min(at);
                    place.last[axis] = place.last[axis].max(at);
                }
            }
        }
        place.centre = place.centre.map(|c| c / weight);
        (weight > 0.0).then_some(place)
    }
}
