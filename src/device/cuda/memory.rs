//! The GPU's memory: tensors' buffers, kept for the next tensor of their size when they are dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cudarc::driver::result::DriverError;
use cudarc::driver::{result, sys};

/// The context, which all memory belongs to and which ends with the last buffer.
pub(super) struct Context {
    pub raw: sys::CUcontext,
    device: sys::CUdevice,
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    buffers: HashMap<usize, Vec<sys::CUdeviceptr>>,
    bytes: usize,
    /// Too much to keep; freed when no queued call can use it any more.
    surplus: Vec<sys::CUdeviceptr>,
}

/// Bytes that are kept at most while nobody uses them.
const KEPT: usize = 1 << 30;

impl Context {
    pub fn new(device: sys::CUdevice) -> Result<Context, DriverError> {
        // SAFETY: a device that the driver has named.
        let raw = unsafe { result::primary_ctx::retain(device)? };
        let context = Context { raw, device, kept: RefCell::default() };
        context.enter()?;
        Ok(context)
    }

    /// Makes it this thread's.
    pub fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: retained in `new`, released in `drop`.
        unsafe { result::ctx::set_current(self.raw) }
    }

    /// Memory with whatever it holds, at least `bytes` of it. No call may be queued that is not in the stream yet.
    pub fn take(self: &Rc<Self>, bytes: usize) -> Result<Buffer, DriverError> {
        // As cudaMalloc aligns; and sizes that are alike are of use to each other.
        let bytes = bytes.max(1).next_multiple_of(256);
        let kept = {
            let kept = &mut *self.kept.borrow_mut();
            let found = kept.buffers.get_mut(&bytes).and_then(Vec::pop);
            kept.bytes -= if found.is_some() { bytes } else { 0 };
            found
        };
        let at = match kept {
            Some(at) => at,
            // SAFETY: a plain allocation.
            None => unsafe { result::malloc_sync(bytes) }.or_else(|e| {
                if e.0 != sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                    return Err(e);
                }
                // Perhaps what was kept for later makes room.
                self.clear();
                // SAFETY: a plain allocation.
                unsafe { result::malloc_sync(bytes) }
            })?,
        };
        Ok(Buffer { at, bytes, context: self.clone() })
    }

    /// Frees what is too much to keep. No call may be queued that is not in the stream yet.
    pub fn sweep(&self) {
        let surplus = std::mem::take(&mut self.kept.borrow_mut().surplus);
        surplus.into_iter().for_each(free);
    }

    fn clear(&self) {
        let kept = std::mem::take(&mut *self.kept.borrow_mut());
        kept.buffers.into_values().flatten().chain(kept.surplus).for_each(free);
    }
}

/// Nobody may have this buffer any more; the driver waits for calls in the stream that still use it.
fn free(at: sys::CUdeviceptr) {
    // SAFETY: allocated by `take`, and by the caller's promise.
    let _ = unsafe { result::free_sync(at) };
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.enter().is_ok() {
            self.clear();
            // SAFETY: retained in `new`.
            let _ = unsafe { result::primary_ctx::release(self.device) };
        }
    }
}

/// A tensor's memory.
pub(crate) struct Buffer {
    pub at: sys::CUdeviceptr,
    bytes: usize,
    context: Rc<Context>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let kept = &mut *self.context.kept.borrow_mut();
        if kept.bytes + self.bytes <= KEPT {
            kept.bytes += self.bytes;
            kept.buffers.entry(self.bytes).or_default().push(self.at);
        } else {
            kept.surplus.push(self.at);
        }
    }
}
