//! Large buffers on the host: where there is no memory for one, that is an error and not the end of the process.

use std::fmt::Display;

use crate::{Error, Result};

/// An empty vector with room for `n` elements. The error names `what` it was for, and its size.
pub(crate) fn with_capacity<T>(n: usize, what: &(impl Display + ?Sized)) -> Result<Vec<T>> {
    with_room(vec![], n, what)
}

/// `all` with room for `more` elements.
pub(crate) fn with_room<T>(mut all: Vec<T>, more: usize, what: &(impl Display + ?Sized)) -> Result<Vec<T>> {
    match all.try_reserve_exact(more) {
        Ok(()) => Ok(all),
        Err(_) => Err(Error::Memory {
            what: what.to_string(),
            bytes: more.checked_mul(size_of::<T>()).map(|bytes| bytes as u64),
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

/// Fails unless there is room for `bytes` bytes, for code of others that would end the process.
pub(crate) fn probe(bytes: usize, what: &(impl Display + ?Sized)) -> Result<()> {
    with_capacity::<u8>(bytes, what).map(drop)
}

/// Bytes that grow as they are written, where running out of memory is an error.
pub(crate) struct Growing(pub Vec<u8>);

impl std::io::Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.try_reserve(bytes.len()).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
