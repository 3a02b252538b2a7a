//! The files a verb writes: checked before the work, written after it, all of them or none.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use steep::evaluate::files::{check_writable, write_all};
use steep::{Error, Result, input, plain};

/// Checks that every output can be written, and that none is another one, a file that was read ([`input`] remembers them), or
/// one of the `journals` that the run adds to.
///
/// To be called when all inputs are read, before the work.
pub fn check(outputs: &[&Path], journals: &[&Path]) -> Result<()> {
    for (i, output) in outputs.iter().enumerate() {
        check_writable(output)?;
        check_input(output)?;
        if journals.iter().any(|journal| input::same(journal, output)) {
            return Err(is_an_input(output));
        }
        if outputs[..i].iter().any(|other| input::same(other, output)) {
            return Err(Error::file(output, "is named twice; wanted one file for each output"));
        }
    }
    Ok(())
}

/// Writes them, unless the user has asked to stop. None is a file that was read.
pub fn write(files: &[(&Path, Vec<u8>)]) -> Result<()> {
    super::go_on()?;
    files.iter().try_for_each(|(path, _)| check_input(path))?;
    write_all(files)
}

fn check_input(output: &Path) -> Result<()> {
    if input::is_input(output) { Err(is_an_input(output)) } else { Ok(()) }
}

fn is_an_input(output: &Path) -> Error {
    Error::file(output, "is an input; wanted another file to write to")
}

/// The first of NAME, NAME-2, NAME-3 and so on for which no file is there with any of the `endings`.
pub fn free_name(name: &str, endings: &[&str]) -> String {
    let names = (1..).map(|i| if i == 1 { name.to_string() } else { format!("{name}-{i}") });
    let is_free = |name: &String| {
        endings.iter().all(|ending| Path::new(&format!("{name}.{ending}")).symlink_metadata().is_err())
    };
    names.into_iter().find(is_free).unwrap_or_else(|| name.into())
}

/// `wrote A and B`, indented, as a line of its own.
pub fn wrote<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    let names: Vec<String> = paths.into_iter().map(|path| plain(&path.display().to_string())).collect();
    format!("  wrote {}\n", names.join(" and "))
}

/// The ending of a file's name in small letters, by which its format is chosen; empty where there is none.
pub fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// A safetensors file of f32 tensors.
pub fn safetensors(
    path: &Path,
    tensors: &[(&str, Vec<usize>, &[f32])],
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>> {
    let fail = |e: safetensors::SafeTensorError| Error::file(path, e);
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(data));
        Ok((name.to_string(), view.map_err(fail)?))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    safetensors::serialize(views, metadata).map_err(fail)
}
