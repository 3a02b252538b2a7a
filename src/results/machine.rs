//! The machine, and the day.

use std::time::Duration;

use serde::Serialize;

/// What a device is part of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Machine {
    /// `linux`, `macos`, `windows`; in a browser, what that says.
    pub os: String,
    /// `x86_64`, `aarch64`, `wasm32`.
    pub arch: String,
    /// The processor by its name; None where nobody tells.
    pub processor: Option<String>,
    /// How many threads it runs at a time.
    pub threads: usize,
    /// Its clock now, in MHz, where that is known.
    pub mhz: Option<f64>,
    /// The browser and its version, in one.
    pub browser: Option<String>,
}

impl Machine {
    /// This one, as far as the operating system tells. A browser tells the page, which fills in the rest.
    pub fn this() -> Machine {
        Machine {
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            processor: processor(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            mhz: cpuinfo("cpu MHz").and_then(|mhz| mhz.parse().ok()),
            browser: None,
        }
    }
}

/// The processor's name, where the operating system tells.
pub fn processor() -> Option<String> {
    cpuinfo("model name").or_else(|| {
        let name = std::env::var("PROCESSOR_IDENTIFIER").ok()?;
        Some(name).filter(|name| cfg!(windows) && !name.is_empty())
    })
}

/// A value of Linux's `/proc/cpuinfo`, of the first processor.
fn cpuinfo(key: &str) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = values.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
    values.next().map(str::to_string)
}

/// Today in UTC: `2026-01-31`.
pub(super) fn today() -> String {
    date(web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH).unwrap_or_default())
}

/// The day in the Gregorian calendar, so long after 1970 began. Years are counted from March, so that a leap day is the
/// last of its year, and in groups of 400, which all have 146097 days.
fn date(since_1970: Duration) -> String {
    let days = since_1970.as_secs() / 86400 + 719_468;
    let (group, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    format!("{:04}-{month:02}-{of_month:02}", 400 * group + year + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        let days = [(0, "1970-01-01"), (59, "1970-03-01"), (789, "1972-02-29"), (11016, "2000-02-29")];
        for (days, name) in
            days.into_iter().chain([(20663, "2026-07-29"), (47540, "2100-02-28"), (47541, "2100-03-01")])
        {
            assert_eq!(date(Duration::from_secs(days * 86400 + 86399)), name);
        }
    }
}
