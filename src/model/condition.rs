//! What a clip is asked to show.

use crate::{Error, Result};

/// What the clips of a batch are asked to show, one entry for each clip.
///
/// A model takes the kinds that it was trained on; another kind is an error when a pass begins.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// Class numbers, from 0. The number of classes stands for "no class", as in DiT; guidance steers away from it.
    Classes(Vec<usize>),
}

impl Condition {
    /// One clip of a class.
    pub fn class(class: usize) -> Condition {
        Condition::Classes(vec![class])
    }

    /// How many clips.
    pub fn clips(&self) -> usize {
        match self {
            Condition::Classes(classes) => classes.len(),
        }
    }

    /// This batch, then the other: a guided one is the conditions, then as many of "none".
    pub fn then(self, other: Condition) -> Condition {
        match (self, other) {
            (Condition::Classes(mut first), Condition::Classes(second)) => {
                first.extend(second);
                Condition::Classes(first)
            }
        }
    }

    /// Class numbers from 0 to `classes` as the `label_embed` op takes them.
    pub(super) fn labels(&self, classes: usize) -> Result<Vec<u32>> {
        let Condition::Classes(all) = self;
        match all.iter().find(|&&class| class > classes) {
            Some(class) if classes == 0 => {
                Err(Error::setting(format!("class {class}"), "none: this model has no classes"))
            }
            Some(class) => {
                let wanted = format!("0 to {}, or {classes} for none", classes - 1);
                Err(Error::setting(format!("class {class}"), wanted))
            }
            None if all.is_empty() => Err(Error::setting("no class", "at least one clip")),
            None => Ok(all.iter().map(|&class| class as u32).collect()),
        }
    }
}
