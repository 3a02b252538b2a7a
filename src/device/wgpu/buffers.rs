//! Memory: tensors' buffers, kept for the next tensor of their size when they are dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use ::wgpu::BufferUsages;

/// Names a buffer for as long as it exists, in use or kept.
pub(super) type Id = u64;

/// A tensor's memory.
pub(crate) struct Buffer {
    raw: ::wgpu::Buffer,
    id: Id,
    pool: Pool,
}

impl Buffer {
    pub(super) fn raw(&self) -> &::wgpu::Buffer {
        &self.raw
    }

    pub(super) fn id(&self) -> Id {
        self.id
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let kept = &mut *self.pool.0.borrow_mut();
        let size = self.raw.size();
        if kept.bytes + size > KEPT {
            kept.evicted.push(self.id);
            return;
        }
        kept.bytes += size;
        kept.buffers.entry(size).or_default().push((self.raw.clone(), self.id));
    }
}

/// Bytes that are kept at most while nobody uses them.
const KEPT: u64 = 256 << 20;

/// What is kept.
#[derive(Clone, Default)]
pub(super) struct Pool(Rc<RefCell<Kept>>);

#[derive(Default)]
struct Kept {
    buffers: HashMap<u64, Vec<(::wgpu::Buffer, Id)>>,
    bytes: u64,
    made: Id,
    evicted: Vec<Id>,
    staging: Option<::wgpu::Buffer>,
}

impl Pool {
    /// A kept buffer of just this size, with whatever it holds.
    pub fn take(&self, size: u64) -> Option<Buffer> {
        let kept = &mut *self.0.borrow_mut();
        let (raw, id) = kept.buffers.get_mut(&size)?.pop()?;
        kept.bytes -= size;
        Some(Buffer { raw, id, pool: self.clone() })
    }

    /// A new buffer, all zero.
    pub fn make(&self, device: &::wgpu::Device, size: u64) -> Buffer {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let raw = super::own(device, "tensor", size, usage);
        let kept = &mut *self.0.borrow_mut();
        kept.made += 1;
        Buffer { raw, id: kept.made, pool: self.clone() }
    }

    /// Buffers that are no more since the last time somebody asked.
    pub fn evicted(&self) -> Vec<Id> {
        std::mem::take(&mut self.0.borrow_mut().evicted)
    }

    /// Keeps nothing.
    pub fn clear(&self) {
        let kept = &mut *self.0.borrow_mut();
        let ids = kept.buffers.drain().flat_map(|(_, all)| all).map(|(_, id)| id);
        kept.evicted.extend(ids);
        kept.bytes = 0;
        kept.staging = None;
    }

    /// Memory that the host can read, of at least this size.
    pub fn staging(&self, device: &::wgpu::Device, size: u64) -> ::wgpu::Buffer {
        let kept = self.0.borrow_mut().staging.take().filter(|b| b.size() >= size);
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        kept.unwrap_or_else(|| super::own(device, "staging", size.next_power_of_two().max(1024), usage))
    }

    /// For the next read.
    pub fn keep_staging(&self, staging: ::wgpu::Buffer) {
        const LARGE: u64 = 4 << 20;
        if staging.size() <= LARGE {
            self.0.borrow_mut().staging = Some(staging);
        }
    }
}
