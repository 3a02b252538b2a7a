//! One error type. Every message is one line: where, what was wanted, what was there instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// What can go wrong, in the words that a user of the program should read.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// An op was handed a tensor or a number it does not take.
    Argument {
        /// The op.
        op: &'static str,
        /// The argument, as the op's signature names it.
        arg: &'static str,
        /// What the op takes there.
        wanted: String,
        /// What it was given.
        got: String,
    },
    /// A file that cannot be read, written or understood.
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it and what was wanted.
        why: String,
    },
    /// A setting outside its range: a flag, a policy, a configuration.
    Setting {
        /// The setting and its value.
        what: String,
        /// What it must be.
        wanted: String,
    },
    /// A device that is absent, or that failed.
    Device {
        /// Which device.
        device: String,
        /// What happened and the way out.
        why: String,
    },
    /// A buffer on the host for which there is no memory.
    Memory {
        /// What it was for.
        what: String,
        /// Its size in bytes; None where it does not fit into a number.
        bytes: Option<u64>,
    },
    /// A result that holds NaN or infinite values.
    NotFinite {
        /// Which result.
        what: String,
        /// How many values, the likely cause, and what would do.
        why: String,
    },
    /// Kernels that do not give what they should.
    Wrong {
        /// How many, or which.
        what: String,
    },
    /// The user asked to stop.
    Interrupted,
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Argument`].
    pub fn argument(
        op: &'static str,
        arg: &'static str,
        wanted: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Self {
        Error::Argument { op, arg, wanted: wanted.to_string(), got: got.to_string() }
    }

    /// An [`Error::File`].
    pub fn file(path: impl AsRef<Path>, why: impl fmt::Display) -> Self {
        Error::File { path: path.as_ref().into(), why: why.to_string() }
    }

    /// An [`Error::Setting`].
    pub fn setting(what: impl fmt::Display, wanted: impl fmt::Display) -> Self {
        Error::Setting { what: what.to_string(), wanted: wanted.to_string() }
    }

    /// An [`Error::Wrong`].
    pub fn wrong(what: impl fmt::Display) -> Self {
        Error::Wrong { what: what.to_string() }
    }

    /// An [`Error::Device`].
    pub fn device(device: impl fmt::Display, why: impl fmt::Display) -> Self {
        Error::Device { device: device.to_string(), why: why.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Argument { op, arg, wanted, got } => write!(f, "{op}: {arg}: wanted {wanted}, got {got}"),
            Error::File { path, why } => write!(f, "{}: {why}", path.display()),
            Error::Setting { what, wanted } => write!(f, "{what}: wanted {wanted}"),
            Error::Device { device, why } => write!(f, "device {device}: {why}"),
            Error::Memory { what, bytes: Some(bytes) } => {
                write!(f, "out of memory: {what}: {bytes} bytes were wanted")
            }
            Error::Memory { what, bytes: None } => {
                write!(f, "out of memory: {what}: more bytes were wanted than can be addressed")
            }
            Error::NotFinite { what, why } => write!(f, "{what}: {why}"),
            Error::Wrong { what } => f.write_str(what),
            Error::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl std::error::Error for Error {}
