//! Classes by their names: a file's own, or those of ImageNet.

use super::Checkpoint;
use super::source::Source;
use crate::{Error, Result};

/// The classes of ImageNet, which DiT was trained on, a line each; a `#` begins a comment.
static IMAGENET: &str = include_str!("../../models/imagenet.txt");

/// The names of each class, in order: several where commas are between. None where none are known.
fn names(source: &Source, classes: usize) -> Result<Option<Vec<String>>> {
    if let Some((path, text)) = &source.pipeline {
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|e| Error::file(path, format!("not JSON: {e}")))?;
        if let Some(labels) = json.get("id2label").and_then(serde_json::Value::as_object) {
            let name = |i: usize| labels.get(&i.to_string()).and_then(serde_json::Value::as_str);
            return Ok(Some((0..classes).map(|i| name(i).unwrap_or_default().into()).collect()));
        }
    }
    let lines = IMAGENET.lines().filter(|line| !line.starts_with('#'));
    let imagenet: Vec<String> = lines.map(String::from).collect();
    Ok(Some(imagenet).filter(|all| all.len() == classes))
}

impl Checkpoint {
    /// The number of a class by its name, which is any of those that WordNet has for it, in capitals or not: `golden
    /// retriever` is 207 in ImageNet. Names are those of a pipeline's `model_index.json`, or where there are 1000
    /// classes, ImageNet's.
    ///
    /// # Errors
    ///
    /// If no names are known, if none is this, and if several classes have it.
    pub fn class_named(&self, name: &str) -> Result<usize> {
        let classes = self.config().classes;
        let Some(all) = names(self.source(), classes)? else {
            let what = format!("class '{name}'");
            return Err(Error::setting(what, "the number of a class, or none: this model's have no names"));
        };
        let wanted = name.trim().to_lowercase();
        let having = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let fits = |names: &str| names.split(',').any(|one| fits(&one.trim().to_lowercase()));
            (0..classes).filter(|&i| fits(&all[i])).collect()
        };
        match &having(&|one| one == wanted)[..] {
            [class] => Ok(*class),
            [] => {
                let like = having(&|one| !wanted.is_empty() && one.contains(&wanted));
                let like: Vec<String> = like.iter().take(4).map(|&i| format!("{i} is {}", all[i])).collect();
                let like = if like.is_empty() { String::new() } else { format!(" ({})", like.join("; ")) };
                Err(Error::setting(
                    format!("class '{name}'"),
                    format!("the name of a class, or its number{like}"),
                ))
            }
            several => {
                let several: Vec<String> = several.iter().map(|&i| format!("{i} is {}", all[i])).collect();
                Err(Error::setting(format!("class '{name}'"), format!("one of them: {}", several.join("; "))))
            }
        }
    }
}
