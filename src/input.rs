//! Files that are read, and the memory of which ones were, so that a program can keep from writing over them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{Error, Result, memory};

/// Where what is made once is kept, such as machine code: `STEEP_CACHE` (empty: nowhere), or the user's folder for such
/// things.
pub fn kept_folder() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if std::env::var_os("STEEP_CACHE").is_some() {
        return named("STEEP_CACHE");
    }
    let base = named("XDG_CACHE_HOME")
        .or_else(|| named("LOCALAPPDATA"))
        .or_else(|| named("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("steep"))
}

/// Every regular file that this process has opened here.
static INPUTS: Mutex<Vec<Identity>> = Mutex::new(vec![]);

/// What makes a file this file: where it lies, and on Unix its device and inode, which hard links share.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Identity {
    /// That of a path, also where no file is yet. Links are followed.
    fn of(path: &Path) -> Identity {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let new = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let inode = None;
        Identity { path: path.canonicalize().ok().or_else(new).unwrap_or_else(|| path.into()), inode }
    }

    fn is(&self, other: &Identity) -> bool {
        self.path == other.path || (self.inode.is_some() && self.inode == other.inode)
    }
}

/// Opens a regular file to read from, and remembers that it is an input. `wanted` says in the error what the file should
/// have been. A folder, a pipe and a device are errors.
pub fn open(path: &Path, wanted: &str) -> Result<File> {
    let fail = |e: std::io::Error| Error::file(path, format!("{e}; wanted {wanted}"));
    // Before it is opened: opening a pipe waits for its other end.
    let kind = fs::metadata(path).map_err(fail)?;
    if !kind.is_file() {
        let what = if kind.is_dir() { "a folder" } else { "a pipe or a device" };
        return Err(Error::file(path, format!("is {what}; wanted {wanted}")));
    }
    let file = File::open(path).map_err(fail)?;
    remember(path, &file);
    Ok(file)
}

/// Reads a whole file, and remembers that it is an input. Unlike [`open`], it also takes a pipe.
pub fn read(path: &Path, wanted: &str) -> Result<Vec<u8>> {
    let fail = |e: std::io::Error| Error::file(path, format!("{e}; wanted {wanted}"));
    if fs::metadata(path).map_err(fail)?.is_dir() {
        return Err(Error::file(path, format!("is a folder; wanted {wanted}")));
    }
    let mut file = File::open(path).map_err(fail)?;
    remember(path, &file);
    let size = file.metadata().map_err(fail)?.len();
    let mut bytes = memory::with_capacity(usize::try_from(size).unwrap_or(usize::MAX), &path.display())?;
    file.read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// [`read`], of UTF-8 text, without the mark that some editors put at its beginning.
pub fn read_text(path: &Path, wanted: &str) -> Result<String> {
    decode(path, read(path, wanted)?, wanted)
}

/// The text of bytes that come from `path`, as [`read_text`] gives it.
pub fn decode(path: &Path, bytes: Vec<u8>, wanted: &str) -> Result<String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Error::file(path, format!("is text in UTF-16; wanted {wanted} in UTF-8")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::file(path, format!("is not UTF-8 text ({}); wanted {wanted}", e.utf8_error())))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

/// Remembers an open file as an input. A pipe or a device has no content that could be lost.
pub fn remember(path: &Path, file: &File) {
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        let mut inputs = INPUTS.lock().unwrap_or_else(|e| e.into_inner());
        let identity = Identity::of(path);
        if !inputs.contains(&identity) {
            inputs.push(identity);
        }
    }
}

/// Whether `path` leads to a file that this process has read: by the same path, through a link, or as another name of the
/// same file.
pub fn is_input(path: &Path) -> bool {
    let this = Identity::of(path);
    INPUTS.lock().unwrap_or_else(|e| e.into_inner()).iter().any(|input| input.is(&this))
}

/// Whether two paths lead to one file, which need not be there yet.
pub fn same(one: &Path, other: &Path) -> bool {
    Identity::of(one).is(&Identity::of(other))
}
