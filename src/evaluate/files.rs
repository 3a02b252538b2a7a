//! Files that are written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::{Error, Result};

/// Writes `bytes` to `path`: afterwards the file is there whole, or what was there before is.
///
/// The bytes go to a temporary file in the same folder, which takes the name at the end and is
/// removed if anything fails. A new file has the permissions that the umask leaves, a replaced
/// one keeps its own, and a link stays a link. A device or a pipe is written to directly.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_all(&[(path, bytes)])
}

/// As [`write_atomically`], for several files: none takes its name before all are there in full.
pub fn write_all(files: &[(&Path, impl AsRef<[u8]>)]) -> Result<()> {
    let staged = files.iter().map(|(path, bytes)| Staged::new(path, bytes.as_ref()));
    let staged: Vec<Staged> = staged.collect::<Result<_>>()?;
    staged.into_iter().try_for_each(Staged::commit)
}

/// A file that is written but has not taken its name.
enum Staged<'a> {
    File { path: &'a Path, file: NamedTempFile, target: PathBuf },
    Stream { path: &'a Path, bytes: &'a [u8] },
}

impl<'a> Staged<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let why = |e: io::Error| Error::file(path, format!("wanted to write {} bytes: {e}", bytes.len()));
        let target = match Target::of(path)? {
            Target::Stream => return Ok(Staged::Stream { path, bytes }),
            Target::File(target) => target,
        };
        let mut file = temporary(path, &target)?;
        file.write_all(bytes).map_err(why)?;
        if let Ok(old) = fs::metadata(&target) {
            file.as_file().set_permissions(old.permissions()).map_err(why)?;
        }
        file.as_file().sync_all().map_err(why)?;
        Ok(Staged::File { path, file, target })
    }

    fn commit(self) -> Result<()> {
        match self {
            Staged::File { path, file, target } => {
                file.persist(&target).map_err(|e| Error::file(path, e.error))?;
            }
            Staged::Stream { path, bytes } => {
                let stream = fs::OpenOptions::new().write(true).open(path);
                stream.and_then(|mut s| s.write_all(bytes)).map_err(|e| Error::file(path, e))?;
            }
        }
        Ok(())
    }
}

/// Says whether [`write_atomically`] can be expected to work, before the work that it is for.
pub fn check_writable(path: &Path) -> Result<()> {
    match Target::of(path)? {
        Target::Stream => Ok(()),
        Target::File(target) => temporary(path, &target).map(drop),
    }
}

/// What a path leads to.
enum Target {
    /// A file, there or to be made, with links followed.
    File(PathBuf),
    /// A device or a pipe, as `/dev/stdout`.
    Stream,
}

impl Target {
    fn of(path: &Path) -> Result<Self> {
        let wrong = |why: String| Err(Error::file(path, why));
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => wrong("wanted a file, this is a folder".into()),
            Ok(meta) if !meta.is_file() => Ok(Target::Stream),
            Ok(meta) if meta.permissions().readonly() => {
                wrong("wanted a file that may be written, this one is read-only".into())
            }
            Ok(_) => match path.canonicalize() {
                Ok(target) => Ok(Target::File(target)),
                Err(e) => wrong(e.to_string()),
            },
            Err(_) if !names_a_file(path) => wrong("wanted the name of a file".into()),
            Err(e) => {
                let folder = folder(path);
                match fs::metadata(folder) {
                    Ok(meta) if !meta.is_dir() => {
                        wrong(format!("wanted a folder, {} is a file", folder.display()))
                    }
                    Ok(_) if e.kind() == io::ErrorKind::NotFound => Ok(Target::File(path.into())),
                    Ok(_) => wrong(format!("wanted a file that can be made: {e}")),
                    Err(e) => {
                        wrong(format!("wanted a file in an existing folder, {}: {e}", folder.display()))
                    }
                }
            }
        }
    }
}

/// `..` and `name/` do not.
fn names_a_file(path: &Path) -> bool {
    path.file_name().is_some() && !path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// The folder of a file; that of a bare name is the current one.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file beside `target` that is gone when it is dropped.
fn temporary(path: &Path, target: &Path) -> Result<NamedTempFile> {
    let folder = folder(target);
    let mut builder = Builder::new();
    builder.prefix(".steep-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask takes its part of these; the crate's own choice is the owner alone.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|e| {
        let why = format!("wanted to make a file in {}: {e}", folder.display());
        Error::file(path, why)
    })
}
