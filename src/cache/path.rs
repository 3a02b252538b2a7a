//! The best schedule with a given number of computed steps, from errors that were measured beforehand (after LeMiCa, arXiv
//! 2511.00090; code in github.com/UnicomAI/LeMiCa).
//!
//! A schedule is a path through the steps that compute, from the first to the last; an edge from i to j is a segment
//! in which the steps between are skipped, and costs the error that it makes. Among all paths with that number of nodes, the
//! *lexicographic minimax* one has the smallest largest error, of those the smallest second largest, and so on.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The lexicographic minimax schedule of `steps` steps of which `computed` compute, the first and the last always.
/// None where there is no such schedule.
///
/// `error(before, from, to)` is what it costs to compute `from` and then next `to`, both included, where `before` is the
/// step that was computed before `from` (`from` itself where there was none): extrapolation depends on it, plain reuse
/// does not. NaN and infinity rule a segment out. Neighbours are asked for too.
///
/// Exact: an error added to two lists of the same length leaves them in the same order, so of all paths that end in the
/// same segment only the best need be kept. Takes O(computed·steps³) steps of time at most.
pub fn shortest(
    steps: usize,
    computed: usize,
    error: impl Fn(usize, usize, usize) -> f64,
) -> Option<Vec<bool>> {
    if steps == 0 || computed == 0 || computed > steps || (computed == 1 && steps > 1) {
        return None;
    }
    // The best path to each last segment (before, from): its errors, largest first, and its nodes.
    let mut best = BTreeMap::from([((0, 0), (vec![], vec![0]))]);
    for left in (0..computed - 1).rev() {
        let mut longer: BTreeMap<(usize, usize), (Vec<f64>, Vec<usize>)> = BTreeMap::new();
        for ((before, from), (errors, nodes)) in &best {
            // Every computed step that is still to come needs a place.
            let to = if left == 0 { steps - 1..steps } else { from + 1..steps - left };
            for to in to.filter(|to| to > from) {
                let cost = error(*before, *from, to);
                if !cost.is_finite() {
                    continue;
                }
                let mut errors = errors.clone();
                errors.insert(errors.partition_point(|e| *e >= cost), cost);
                let known = longer.get(&(*from, to));
                if known.is_none_or(|(known, _)| compare(&errors, known) == Ordering::Less) {
                    let nodes = nodes.iter().copied().chain([to]).collect();
                    longer.insert((*from, to), (errors, nodes));
                }
            }
        }
        best = longer;
    }
    let (_, nodes) = best.into_values().min_by(|(a, _), (b, _)| compare(a, b))?;
    Some((0..steps).map(|step| nodes.contains(&step)).collect())
}

/// Lists of finite errors, largest first.
fn compare(a: &[f64], b: &[f64]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}
