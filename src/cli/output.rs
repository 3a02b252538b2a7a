//! The files a verb writes: checked before the work, written after it, all of them or none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use steep::evaluate::files::{check_writable, write_all};
use steep::{Error, Result};

/// Checks that every output can be written, and that none is another or one of the inputs.
pub fn check(outputs: &[&Path], inputs: &[&Path]) -> Result<()> {
    for (i, output) in outputs.iter().enumerate() {
        check_writable(output)?;
        if inputs.iter().any(|input| place(input) == place(output)) {
            return Err(Error::file(output, "is an input; wanted another file to write to"));
        }
        if outputs[..i].iter().any(|other| place(other) == place(output)) {
            return Err(Error::file(output, "is named twice; wanted one file for each output"));
        }
    }
    Ok(())
}

/// Writes them, unless the user has asked to stop.
pub fn write(files: &[(&Path, Vec<u8>)]) -> Result<()> {
    super::go_on()?;
    write_all(files)
}

/// A path in one spelling, also that of a file which is not there yet.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(new).unwrap_or_else(|| path.into())
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
