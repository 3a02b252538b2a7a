//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    let (files, streams): (Vec<Staged>, Vec<Staged>) =
        staged.collect::<Result<Vec<_>>>()?.into_iter().partition(|s| matches!(s, Staged::File { .. }));
    let mut files = files.into_iter();
    let named = {
        // Either all of them have their names when the program is abandoned, or none.
        let mut temporaries = temporaries();
        files.by_ref().try_for_each(|file| file.commit(&mut temporaries))
    };
    // The lock is free again: what is left over takes it to go.
    drop(files);
    named?;
    // A pipe may wait for its reader for ever.
    streams.into_iter().try_for_each(|stream| stream.commit(&mut Vec::new()))
}

/// The temporary files of this process. Whoever holds the lock makes, renames or removes one.
fn temporaries() -> MutexGuard<'static, Vec<PathBuf>> {
    static ALL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of this process, for a program that is about to end without unwinding. From here on no
/// file takes its name: whatever wants to write waits for ever.
pub fn abandon() {
    let all = temporaries();
    for path in all.iter() {
        // Gone already, or the next run's to remove.
        let _ = fs::remove_file(path);
    }
    std::mem::forget(all);
}

/// A file that is written but has not taken its name.
enum Staged<'a> {
    File { path: &'a Path, file: Temporary, target: PathBuf },
    Stream { path: &'a Path, bytes: &'a [u8] },
}

impl<'a> Staged<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let why = |e: io::Error| Error::file(path, format!("wanted to write {} bytes: {e}", bytes.len()));
        let target = match Target::of(path)? {
            Target::Stream => return Ok(Staged::Stream { path, bytes }),
            Target::File(target) => target,
        };
        let temporary = Temporary::beside(path, &target)?;
        let mut file = temporary.file();
        file.write_all(bytes).map_err(why)?;
        if let Ok(old) = fs::metadata(&target) {
            file.set_permissions(old.permissions()).map_err(why)?;
        }
        file.sync_all().map_err(why)?;
        Ok(Staged::File { path, file: temporary, target })
    }

    fn commit(self, temporaries: &mut Vec<PathBuf>) -> Result<()> {
        match self {
            Staged::File { path, file, target } => {
                file.persist(&target, temporaries).map_err(|e| Error::file(path, e))?;
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
///
/// Removes what killed runs have left in the folder: temporary files that no process holds.
pub fn check_writable(path: &Path) -> Result<()> {
    match Target::of(path)? {
        Target::Stream => Ok(()),
        Target::File(target) => {
            sweep(folder(&target));
            Temporary::beside(path, &target).map(drop)
        }
    }
}

/// Removes the temporary files of processes that are gone. One that lives has a lock on each of its own.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let ours = |name: &str| {
        let random = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
        random.is_some_and(|random| random.len() == RANDOM)
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(ours) || !entry.file_type().is_ok_and(|t| t.is_file()) {
            continue;
        }
        // Where a file system has no locks, nobody can tell, and it stays.
        if let Ok(file) = fs::OpenOptions::new().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
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

const PREFIX: &str = ".steep-";
const SUFFIX: &str = ".tmp";
/// Random letters between them.
const RANDOM: usize = 6;

/// A file that is gone when this is dropped, or the program [abandoned](abandon).
struct Temporary(Option<NamedTempFile>);

impl Temporary {
    /// A new one in the folder of `target`; errors name `path`.
    fn beside(path: &Path, target: &Path) -> Result<Temporary> {
        let folder = folder(target);
        let mut builder = Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX).rand_bytes(RANDOM);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The umask takes its part of these; the crate's own choice is the owner alone.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        loop {
            let mut temporaries = temporaries();
            let file = builder.tempfile_in(folder).map_err(|e| {
                let why = format!("wanted to make a file in {}: {e}", folder.display());
                Error::file(path, why)
            })?;
            // Another process may take it for a dead one's before it is locked: then there is a next one.
            let held = !matches!(file.as_file().try_lock(), Err(fs::TryLockError::WouldBlock));
            if held && file.path().exists() {
                temporaries.push(file.path().into());
                return Ok(Temporary(Some(file)));
            }
        }
    }

    fn file(&self) -> &File {
        self.0.as_ref().expect("a file until it takes its name").as_file()
    }

    /// Gives it the name of `target`.
    fn persist(mut self, target: &Path, temporaries: &mut Vec<PathBuf>) -> io::Result<()> {
        let Some(file) = self.0.take() else { return Ok(()) };
        let place = file.path().to_path_buf();
        let renamed = file.persist(target);
        temporaries.retain(|path| *path != place);
        renamed.map(drop).map_err(|e| e.error)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else { return };
        let mut temporaries = temporaries();
        temporaries.retain(|path| path != file.path());
        drop(file);
    }
}
