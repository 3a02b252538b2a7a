//! Time: stamps that the GPU writes between calls.

use std::rc::Rc;

use ::wgpu::{
    BufferUsages, ComputePassDescriptor, ComputePassTimestampWrites, Features, QuerySet, QuerySetDescriptor,
    QueryType,
};

use web_time::Instant;

use super::{Arrival, Wgpu, own};
use crate::Result;
use crate::device::{COARSE, Mark};

/// A moment in the queue.
pub struct Stamp(Kind);

enum Kind {
    /// Written by the GPU when it gets there.
    Query { set: Rc<QuerySet>, index: u32 },
    /// The host's clock, once all before was done.
    Host(Arrival<Instant>),
}

/// The set that the next stamps go to.
#[derive(Default)]
pub(super) struct Stamps {
    open: Option<(Rc<QuerySet>, u32)>,
}

/// Stamps of a set: whole sets are resolved, at offsets that are multiples of 256 bytes.
const SET: u32 = 128;

impl Wgpu {
    pub(in crate::device) fn mark(&self) -> Stamp {
        if !self.features.contains(Features::TIMESTAMP_QUERY) {
            // No clock but the host's: honest only after what comes before is done, which a browser says when it is, and
            // natively must be waited for. What fails here, the next read reports.
            self.submit();
            let done = Arrival::default();
            let arrived = done.clone();
            self.queue.on_submitted_work_done(move || arrived.set(Instant::now()));
            let _ = self.wait();
            return Stamp(Kind::Host(done));
        }
        let mut stamps = self.stamps.borrow_mut();
        let new = || {
            let descriptor = QuerySetDescriptor { label: None, ty: QueryType::Timestamp, count: SET };
            (Rc::new(self.device.create_query_set(&descriptor)), 0)
        };
        let (set, index) = stamps.open.take().filter(|(_, used)| *used < SET).unwrap_or_else(new);
        stamps.open = Some((set.clone(), index + 1));
        // An empty pass: stamps between passes are not part of WebGPU.
        let writes = ComputePassTimestampWrites {
            query_set: &set,
            beginning_of_pass_write_index: Some(index),
            end_of_pass_write_index: None,
        };
        self.with_encoder(|encoder| {
            drop(
                encoder.begin_compute_pass(&ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(writes),
                }),
            )
        });
        Stamp(Kind::Query { set, index })
    }

    pub(in crate::device) async fn seconds(&self, marks: &[Mark]) -> Result<Vec<f64>> {
        let stamps: Vec<&Kind> = marks
            .iter()
            .map(|mark| match mark {
                Mark::Wgpu(stamp) => &stamp.0,
                _ => unreachable!("a mark of this device"),
            })
            .collect();
        let mut sets: Vec<&Rc<QuerySet>> = vec![];
        for stamp in &stamps {
            if let Kind::Query { set, .. } = stamp
                && !sets.iter().any(|s| Rc::ptr_eq(s, set))
            {
                sets.push(set);
            }
        }
        let ticks = self.ticks(&sets).await?;
        let mut host = vec![];
        for stamp in &stamps {
            if let Kind::Host(done) = stamp {
                host.push(done.clone().await_it().await);
            }
        }
        self.check()?;
        if !host.is_empty() {
            return Ok(host.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect());
        }
        let period = f64::from(self.queue.get_timestamp_period()) * 1e-9;
        let between = |pair: &[&Kind]| match (pair[0], pair[1]) {
            (Kind::Query { set: a, index: i }, Kind::Query { set: b, index: j }) => {
                let at = |set, i: &u32| {
                    let set = sets.iter().position(|s| Rc::ptr_eq(s, set)).expect("collected above");
                    ticks[set * SET as usize + *i as usize]
                };
                at(b, j).wrapping_sub(at(a, i)) as f64 * period
            }
            _ => unreachable!("a device has one kind of stamp"),
        };
        Ok(stamps.windows(2).map(between).collect())
    }

    /// Seconds between two stamps that differ. Browsers round their clocks to 0.1 ms.
    pub(in crate::device) fn clock(&self) -> f64 {
        match self.features.contains(Features::TIMESTAMP_QUERY) {
            _ if cfg!(target_arch = "wasm32") => COARSE,
            true => f64::from(self.queue.get_timestamp_period()) * 1e-9,
            false => 1e-6,
        }
    }

    /// All stamps of these sets.
    async fn ticks(&self, sets: &[&Rc<QuerySet>]) -> Result<Vec<u64>> {
        if sets.is_empty() {
            self.check()?;
            return Ok(vec![]);
        }
        let bytes = SET as usize * 8 * sets.len();
        let usage = BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC;
        let resolved = own(&self.device, "stamps", bytes as u64, usage);
        self.with_encoder(|encoder| {
            for (set, at) in sets.iter().zip((0..).step_by(SET as usize * 8)) {
                encoder.resolve_query_set(set, 0..SET, &resolved, at);
            }
        });
        let ticks = self.copy_back(&[(&resolved, bytes)]).await?;
        Ok(bytemuck::pod_collect_to_vec(&ticks[0]))
    }
}
