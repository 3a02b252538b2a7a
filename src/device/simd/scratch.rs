//! Working memory of kernels.

use super::{LANES, V};

/// Working memory of a block, kept by its thread from call to call.
pub struct Scratch {
    lines: Vec<V>,
}

impl Scratch {
    /// `n` floats with arbitrary content.
    #[inline(always)]
    pub fn take(n: usize) -> Scratch {
        let mut lines = POOL.take();
        if lines.len() < n.div_ceil(LANES) {
            lines.resize(n.div_ceil(LANES), V::ZERO);
        }
        Scratch { lines }
    }

    /// The floats; at least as many as were asked for.
    #[inline(always)]
    pub fn floats(&mut self) -> &mut [f32] {
        let n = self.lines.len() * LANES;
        // SAFETY: a `V` is 16 floats and nothing else.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), n) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        POOL.set(std::mem::take(&mut self.lines));
    }
}

thread_local! {
    static POOL: std::cell::Cell<Vec<V>> = const { std::cell::Cell::new(Vec::new()) };
}
