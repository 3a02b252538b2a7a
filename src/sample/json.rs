//! Runs as records: what programs read.

use serde_json::{Value, json};

use super::Run;
use crate::cache::Step;
use crate::plot::{StepBar, skip_map};

impl Step {
    /// Step `i` of a trace: `{i, d, rescaled, acc, decision}`. A number that is absent or not finite is null.
    pub fn json(&self, i: usize) -> Value {
        json!({
            "i": i,
            "d": self.distance,
            "rescaled": self.rescaled,
            "acc": self.accumulated,
            "decision": self.decision.letter().to_string(),
        })
    }
}

impl Run {
    /// `{steps, computed, skipped}`: the steps as [`Step::json`], each with its time `t` and its `ms`.
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = (self.steps.iter().enumerate())
            .map(|(i, record)| {
                let mut row = record.step.json(i);
                row["t"] = number(record.time);
                row["ms"] = json!(record.ms);
                row
            })
            .collect();
        json!({ "steps": steps, "computed": self.computed(), "skipped": self.steps.len() - self.computed() })
    }

    /// Distances, sums and decisions as SVG. `what` was run: it stands above the picture.
    pub fn skip_map(&self, what: &str, threshold: Option<f64>) -> String {
        let bars: Vec<StepBar> = (self.steps.iter())
            .map(|r| StepBar {
                decision: r.step.decision.letter(),
                distance: r.step.distance,
                accumulated: r.step.accumulated,
            })
            .collect();
        let title = format!("{what}: {} of {} steps computed", self.computed(), bars.len());
        skip_map(&title, &bars, threshold)
    }
}

/// The number as it was written or as f32 prints it, not with the digits that f64 adds.
pub(crate) fn number(x: f32) -> Value {
    json!(x.to_string().parse::<f64>().ok())
}
