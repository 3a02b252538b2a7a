//! The CUDA executor where it is not built in (feature `cuda`): a device that cannot be opened.

use super::{Call, Choice, Counters, Facts, Mark, Need, Source};
use crate::{Error, Result, Tensor};

/// There is none.
pub enum Cuda {}

/// There is none.
pub struct Stamp;

pub(crate) enum Buffer {}

impl Cuda {
    pub(super) fn open(name: &str) -> Result<Cuda> {
        Err(Error::device(format!("`{name}`"), "not built in: wanted the feature `cuda`"))
    }

    pub(super) fn all() -> impl Iterator<Item = Result<Cuda>> {
        std::iter::empty()
    }
}

/// What a device does, this one never.
macro_rules! never {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        impl Cuda {
            $(pub(super) fn $name(&self $(, $arg: $ty)*) -> $out {
                $(let _ = $arg;)*
                match *self {}
            })*
        }
    };
}

never! {
    name() -> &str;
    multiprocessors() -> usize;
    describe() -> String;
    facts() -> Facts;
    has(need: Need) -> bool;
    fits(source: &Source, call: &Call<'_, '_>) -> bool;
    is_emulated() -> bool;
    recover() -> Result<()>;
    choice() -> &Choice;
    alloc(bytes: usize) -> Result<Buffer>;
    upload(to: &Buffer, at: usize, bytes: &[u8]) -> Result<()>;
    run(source: &'static Source, call: Call<'_, '_>) -> Result<()>;
    read(from: &[(&Tensor, usize)]) -> Result<Vec<Vec<u8>>>;
    mark() -> Stamp;
    seconds(marks: &[Mark]) -> Result<Vec<f64>>;
    counters() -> Result<Counters>;
}
