//! The pictures of a comparison, made from its results.json: the same when they are drawn anew.

use serde_json::Value;
use steep::plot::{self, DecisionBand, PolicyPoint};

/// Names and texts of the pictures, or `None` if these are not the results of a comparison.
pub fn of(results: &Value) -> Option<[(&'static str, String); 2]> {
    let settings = &results["settings"];
    let [model, device] = ["model", "device"].map(|key| settings[key].as_str());
    let title =
        format!("{}: {} clips of {} steps", model?, results["rounds"].as_u64()?, settings["steps"].as_u64()?);
    let rows = results["rows"].as_array()?;
    let estimate = |row: &Value, key: &str| Some((row[key]["value"].as_f64()?, row[key]["half"].as_f64()));
    let point = |row: &Value| {
        let (gain, quality) = (estimate(row, "speedup")?, estimate(row, "psnr")?);
        Some(PolicyPoint { policy: row["policy"].as_str()?.into(), gain, quality })
    };
    let band = |row: &Value| {
        let computed = row["by_step"].as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?;
        Some(DecisionBand { policy: row["policy"].as_str()?.into(), computed })
    };
    let points: Vec<PolicyPoint> = rows.iter().filter_map(point).collect();
    let bands: Vec<DecisionBand> = rows.iter().map(band).collect::<Option<_>>()?;
    let axes = ("times faster than without a cache", "PSNR against the uncached clip, dB");
    Some([
        ("pareto.svg", plot::pareto(&format!("{title}, {}", device?), axes, &points)),
        ("decisions.svg", plot::decisions(&title, &bands)),
    ])
}
