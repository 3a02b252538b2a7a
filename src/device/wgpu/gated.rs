//! Calls that run only if a flag on the GPU says so: indirect dispatches, whose workgroup counts a small kernel
//! (`wgsl/gate.wgsl`) sets to those of the grid or to zero.
//!
//! It runs once after each change of a flag, for all grids that the flag has ever gated: there are few, since a model's
//! calls repeat. The host never learns what the flag was, so the kernel also counts which calls ran.

use std::collections::HashMap;

use ::wgpu::{BindGroup, BufferUsages, ComputePipeline};

use super::prelude::{Module, Variant};
use super::{Buffer, Id, Wgpu, own};
use crate::device::{Text, wgsl};
use crate::{DType, Result};

#[derive(Default)]
pub(super) struct Gates {
    flags: HashMap<Id, Flag>,
    shared: Option<Shared>,
}

/// What one flag gates.
struct Flag {
    /// (x, y, z, the truth at which it runs).
    slots: Vec<[u32; 4]>,
    slots_buffer: ::wgpu::Buffer,
    arguments: ::wgpu::Buffer,
    bind_group: BindGroup,
    /// Whether `arguments` are those of the flag as it is now and of all slots.
    current: bool,
    /// Calls since then, by the truth at which they run: [unless, if].
    calls: [u32; 2],
}

struct Shared {
    pipeline: ComputePipeline,
    /// Gated calls that ran and that did not.
    tally: ::wgpu::Buffer,
}

/// The executor's own shader.
const GATE: Text = wgsl!("gate");
/// Grids that a flag gates at the same time.
const SLOTS: usize = 256;

impl Gates {
    /// A buffer has new contents.
    pub fn written(&mut self, id: Id) {
        if let Some(flag) = self.flags.get_mut(&id) {
            flag.current = false;
        }
    }

    pub fn forget(&mut self, gone: &[Id]) {
        self.flags.retain(|id, _| !gone.contains(id));
    }
}

impl Wgpu {
    /// The indirect arguments of a call over `grid` that runs if `flag` is, or is not, `wanted`.
    pub(super) fn gate(&self, flag: &Buffer, grid: [u32; 3], wanted: bool) -> (::wgpu::Buffer, u64) {
        let gates = &mut *self.gates.borrow_mut();
        let shared = gates.shared.get_or_insert_with(|| self.shared());
        let entry = gates.flags.entry(flag.id()).or_insert_with(|| self.flag(flag, shared));
        let slot = [grid[0], grid[1], grid[2], u32::from(wanted)];
        let at = entry.slots.iter().position(|s| *s == slot).unwrap_or_else(|| {
            if entry.slots.len() == SLOTS {
                // Grids of the past; calls that are encoded with them go first.
                self.submit();
                entry.slots.clear();
            }
            entry.slots.push(slot);
            let at = entry.slots.len() - 1;
            // Before anything that is not submitted yet: slots behind the ones in use harm nobody.
            self.queue.write_buffer(&entry.slots_buffer, 16 * at as u64, bytemuck::bytes_of(&slot));
            entry.current = false;
            at
        });
        if !entry.current {
            self.expand(entry, shared);
        }
        entry.calls[usize::from(wanted)] += 1;
        (entry.arguments.clone(), 16 * at as u64)
    }

    fn shared(&self) -> Shared {
        let variant = Variant::plain(DType::F32);
        let text = Module::new(&variant, &[], GATE).expect("it includes nothing");
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        Shared { pipeline: self.pipeline("gate", &text, 3, 2), tally: own(&self.device, "tally", 16, usage) }
    }

    fn flag(&self, flag: &Buffer, shared: &Shared) -> Flag {
        let buffer =
            |label, usage| own(&self.device, label, 16 * SLOTS as u64, BufferUsages::STORAGE | usage);
        let slots_buffer = buffer("gate slots", BufferUsages::COPY_DST);
        let arguments = buffer("gate arguments", BufferUsages::INDIRECT);
        let previous = own(&self.device, "gate previous", 16, BufferUsages::STORAGE);
        let all = [&arguments, &shared.tally, &previous, flag.raw(), &slots_buffer];
        let bind_group = self.group(3, all.iter().copied());
        Flag { slots: vec![], slots_buffer, arguments, bind_group, current: false, calls: [0; 2] }
    }

    /// Counts the calls since the last time, and makes the arguments of the next ones.
    fn expand(&self, flag: &mut Flag, shared: &Shared) {
        let [unless, if_] = std::mem::take(&mut flag.calls);
        let at = self.push(bytemuck::cast_slice(&[flag.slots.len() as u32, if_, unless]));
        self.with_pass(|pass| {
            pass.set_pipeline(&shared.pipeline);
            pass.set_bind_group(0, &flag.bind_group, &[at]);
            pass.dispatch_workgroups(1, 1, 1);
        });
        flag.current = true;
    }

    /// Counts what is not counted yet; gated calls that ran and that did not, since the beginning.
    pub(super) async fn settle(&self) -> Result<[u32; 2]> {
        let tally = {
            let gates = &mut *self.gates.borrow_mut();
            let Some(shared) = &gates.shared else { return Ok([0; 2]) };
            for flag in gates.flags.values_mut().filter(|flag| flag.calls != [0; 2]) {
                self.expand(flag, shared);
            }
            shared.tally.clone()
        };
        let bytes = self.copy_back(&[(&tally, 8)]).await?;
        Ok(bytemuck::pod_read_unaligned(&bytes[0]))
    }
}
