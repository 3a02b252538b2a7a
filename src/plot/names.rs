//! Names of cache policies that are short enough for a picture.

/// The name of a policy, short enough for a label.
///
/// - `mask:0110…` becomes `static:N`, where N is the number of steps that the mask computes.
/// - A polynomial that is spelt out becomes its degree: `tea:0.1:0,0,0,1,0` becomes `tea:0.1:degree 1`.
/// - The file of a table is left out: `mag:0.05@FILE` becomes `mag:0.05`.
///
/// Every other name stays as it is.
pub fn short_name(policy: &str) -> String {
    let (policy, file) = policy.split_once('@').unwrap_or((policy, ""));
    // What follows the file's name is the policy's: `mag:0.05@FILE+taylor`.
    let extra = file.find('+').map_or("", |at| &file[at..]);
    let parts: Vec<String> = policy
        .split(':')
        .map(|part| match part.split(',').collect::<Vec<_>>() {
            powers if powers.len() > 1 && powers.iter().all(|c| c.parse::<f64>().is_ok()) => {
                let zeros = powers.iter().take_while(|c| c.parse() == Ok(0.0)).count();
                format!("degree {}", (powers.len() - 1).saturating_sub(zeros))
            }
            _ => part.to_string(),
        })
        .collect();
    match &parts[..] {
        [kind, mask] if kind == "mask" => {
            let end = mask.find(|c| c != '0' && c != '1').unwrap_or(mask.len());
            let (steps, more) = mask.split_at(end);
            format!("static:{}{more}{extra}", steps.matches('1').count())
        }
        _ => parts.join(":") + extra,
    }
}

/// A short name in two: the family, in which `…` stands for the setting, and the setting.
///
/// The setting is what follows the kind as far as it is made of numbers: `tea:0.1:identity` is of the family
/// `tea:…:identity` and has the setting `0.1`; `mag:1:16` is of the family `mag:…` and has `1:16`. A name without a
/// setting is a family of its own.
pub(super) fn family(short: &str) -> (String, String) {
    let Some((kind, rest)) = short.split_once(':') else {
        return (short.to_string(), String::new());
    };
    let is_setting = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
    let end = rest.find(|c| !is_setting(c)).unwrap_or(rest.len());
    let setting = rest[..end].trim_end_matches(':');
    match setting {
        "" => (short.to_string(), String::new()),
        _ => (format!("{kind}:…{}", &rest[setting.len()..]), setting.to_string()),
    }
}

/// What a family has in common with its variants: `tea` of `tea:…:identity` and of `tea:…+taylor`.
pub(super) fn kind(family: &str) -> &str {
    family.split([':', '+', '@']).next().unwrap_or(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_become_short_ones() {
        for (long, short) in [
            ("uniform:2", "uniform:2"),
            ("tea:0.1:identity", "tea:0.1:identity"),
            ("mask:110100", "static:3"),
            ("mask:110100+taylor", "static:3+taylor"),
            ("tea:0.02:0,0,0,1.5,-2", "tea:0.02:degree 1"),
            ("tea:0.02:0,0,0,0,1", "tea:0.02:degree 0"),
            ("tea:0.02:1e3,-2,0,0,0", "tea:0.02:degree 4"),
            ("mag:0.05:4@models/a:b.json", "mag:0.05:4"),
            ("mag:0.05@a.json+taylor", "mag:0.05+taylor"),
            ("", ""),
        ] {
            assert_eq!(short_name(long), short);
        }
    }

    #[test]
    fn a_name_has_a_family_and_a_setting() {
        for (name, family_of, setting, kind_of) in [
            ("tea:0.1:identity", "tea:…:identity", "0.1", "tea"),
            ("static:20+taylor", "static:…+taylor", "20", "static"),
            ("easy:0.05+taylor", "easy:…+taylor", "0.05", "easy"),
            ("mag:1:16", "mag:…", "1:16", "mag"),
            ("tea:0.02:degree 3", "tea:…:degree 3", "0.02", "tea"),
            ("uncached", "uncached", "", "uncached"),
            ("lost:x", "lost:x", "", "lost"),
        ] {
            assert_eq!(family(name), (family_of.to_string(), setting.to_string()));
            assert_eq!(kind(family_of), kind_of);
        }
    }
}
