//! `fb:δ`, First-Block Cache: the first block always runs; the others are skipped if what it added differs from what it
//! added on the last computed step by less than δ, and what they added then is added again.
//!
//! Nothing accumulates, and only the first step is forced (github.com/chengzeyi/ParaAttention,
//! `first_block_cache/utils.py`; the same in diffusers' `hooks/first_block_cache.py`).

use super::{Arguments, Entry};
use crate::cache::{IDENTITY, Limits, Measure, Span, TeaCache};

pub static FB: Entry = Entry {
    name: "fb",
    arguments: ":THRESHOLD",
    skips_when: "the first block's residual differs by less than THRESHOLD from that of the last computed step",
    source: Some(("First-Block Cache", "https://github.com/chengzeyi/ParaAttention")),
    measure: Measure::FirstBlock,
    span: Span::OtherBlocks,
    limits: Limits::ALL,
    parse: |text| Arguments::threshold(text, rule),
};

fn rule(threshold: f64, steps: usize) -> TeaCache {
    TeaCache { accumulates: false, force_last: false, ..TeaCache::new(threshold, IDENTITY, steps) }
}
