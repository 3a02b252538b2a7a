//! `steep bench`.

use serde_json::Value;
use steep::cases::bench::{Bound, Rating};

use crate::Place;

/// A row above its ceiling has no percentage, in words or as JSON: it is in a cache, or the ceiling is none for it.
#[test]
fn no_rate_is_more_than_its_ceiling() {
    let of = |bound, share, cached| Rating::of(bound, share, cached);
    assert_eq!(of(Bound::Copy, 5.66, true), Rating::InCache);
    assert_eq!(of(Bound::Copy, 5.66, false), Rating::Above);
    assert_eq!(of(Bound::Matmul, 1.2, true), Rating::Above);
    assert_eq!(of(Bound::Copy, 0.52, true), Rating::Share(0.52));
    assert_eq!(of(Bound::Matmul, 1.004, false), Rating::Share(1.0), "printed as 100 %");
    // Small operands: several times as fast as a copy that no cache holds.
    let place = Place::new();
    let rows = place.ok(&["bench", "--device", "cpu", "--op", "take", "--json"]);
    let rows: Value = serde_json::from_str(&rows).unwrap();
    let mut cached = 0;
    for row in rows.as_array().unwrap() {
        assert!(row["ceiling_pct"].as_f64().is_none_or(|percent| percent <= 100.0), "{row}");
        assert!(!(row["in_cache"] == true && row["ceiling_pct"].is_number()), "{row}");
        let share = row["gbps"].as_f64().unwrap() / row["ceiling_gbps"].as_f64().unwrap();
        assert_eq!(row["ceiling_pct"].is_null(), share > 1.005, "{row}");
        cached += usize::from(row["in_cache"] == true);
    }
    let said = place.ok(&["bench", "--device", "cpu", "--op", "take"]);
    assert!(cached > 0 && said.contains("in cache\n"), "{rows}\n{said}");
    let rows = said.lines().skip(3).count();
    let rated = said.lines().filter(|l| ["of copy", "in cache", "above copy"].iter().any(|w| l.ends_with(w)));
    assert_eq!(rated.count(), rows, "{said}");
}
