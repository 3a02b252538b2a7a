//! Large buffers on the host: where there is no memory for one, that is an error and not the end of the process.

use std::fmt::Display;

use crate::{Error, Result};

/// An empty vector with room for `n` elements. The error names `what` it was for, and its size.
pub(crate) fn with_capacity<T>(n: usize, what: &(impl Display + ?Sized)) -> Result<Vec<T>> {
    let mut all = Vec::new();
    match all.try_reserve_exact(n) {
        Ok(()) => Ok(all),
        Err(_) => Err(Error::Memory {
            what: what.to_string(),
            bytes: n.checked_mul(size_of::<T>()).map(|bytes| bytes as u64),
        }),
    }
}

/// `n` equal values.
pub(crate) fn filled<T: Clone>(n: usize, value: T, what: &(impl Display + ?Sized)) -> Result<Vec<T>> {
    let mut all = with_capacity(n, what)?;
    all.resize(n, value);
    Ok(all)
}

/// A copy of `from`.
pub(crate) fn copied<T: Copy>(from: &[T], what: &(impl Display + ?Sized)) -> Result<Vec<T>> {
    let mut all = with_capacity(from.len(), what)?;
    all.extend_from_slice(from);
    Ok(all)
}

/// What an iterator of known length yields.
pub(crate) fn collected<T>(
    values: impl ExactSizeIterator<Item = T>,
    what: &(impl Display + ?Sized),
) -> Result<Vec<T>> {
    let mut all = with_capacity(values.len(), what)?;
    all.extend(values);
    Ok(all)
}
