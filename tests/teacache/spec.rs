//! Cache settings: what they parse to, how they are written, and what a bad one is told.

use std::path::Path;

use steep::cache::{
    Given, IDENTITY, Limits, Measure, Negative, POLICIES, Policy, Polynomial, Rule, SETS, Span, Spec,
    StandIn, letters,
};
use steep::evaluate::calibrate::given;

use crate::{made, rule};

fn refused(spec: &str) -> String {
    let error = spec.parse::<Spec>().unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn refused_for(spec: &Spec, steps: usize) -> String {
    let error = spec.policy(steps, &Given::default()).err().unwrap().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn trace(spec: &str, steps: usize) -> String {
    letters(&made(spec, steps).replay(&vec![None; steps]))
}

#[test]
fn settings_parse() {
    let flux = Some([498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861]);
    let listed = Some([1.0, -2.5, 0.003, 1.0, 0.0]);
    let fit = Polynomial { coefficients: [0.0, 0.0, 0.0, 2.0, 1.0], range: [0.1, 0.2] };
    let given = Given { fit: Some(fit), magnitudes: None };
    for (text, threshold, coefficients, negative) in [
        ("tea:0.2", 0.2, None, Negative::Clamp),
        ("tea:inf", f64::INFINITY, None, Negative::Clamp),
        ("tea:0", 0.0, None, Negative::Clamp),
        ("tea:0.2:raw", 0.2, None, Negative::Raw),
        ("tea:0.2:clamp", 0.2, None, Negative::Clamp),
        ("tea:0.4:flux-1-dev", 0.4, flux, Negative::Clamp),
        ("tea:0.4:flux-1-dev:abs", 0.4, flux, Negative::Abs),
        ("tea:0.1:1,-2.5,3e-3,1,0:raw", 0.1, listed, Negative::Raw),
    ] {
        let spec: Spec = text.parse().unwrap();
        assert_eq!(spec.takes_calibration(), coefficients.is_none(), "{text}");
        let Rule::Threshold(tea) = spec.policy(9, &given).unwrap().rule else { panic!("{text}") };
        let range = coefficients.is_none().then_some(fit.range);
        let coefficients = coefficients.unwrap_or(fit.coefficients);
        assert_eq!((tea.threshold, tea.coefficients), (threshold, coefficients), "{text}");
        assert_eq!((tea.negative, tea.range, tea.steps), (negative, range, 9), "{text}");
    }
    for text in ["fb:0.1", "sea:0.1", "easy:0.1", "uniform:3"] {
        let spec: Spec = text.parse().unwrap();
        assert!(!spec.takes_calibration(), "{text}");
        let policies = [&given, &Given::default()].map(|given| spec.policy(9, given).unwrap());
        let [with, without] = policies.map(|policy| format!("{policy:?}"));
        assert_eq!(with, without, "{text}");
    }
    assert_eq!("mag:0.1:4@x+y.json".parse::<Spec>().unwrap().file(), Some(Path::new("x+y.json")));
    assert_eq!("tea:0.1".parse::<Spec>().unwrap().file(), None);
}

/// The four values of each policy, as their papers have them.
#[test]
fn a_policy_is_four_values() {
    let values = |spec: &str| {
        let Policy { measure, span, stand_in, .. } = made(spec, 4);
        (measure, span, stand_in)
    };
    use StandIn::{Extrapolated, Residual};
    for (spec, wanted) in [
        ("off", (Measure::Nothing, Span::Blocks, Residual)),
        ("uniform:2", (Measure::Nothing, Span::Blocks, Residual)),
        ("mask:1010", (Measure::Nothing, Span::Blocks, Residual)),
        ("mask:1010+taylor", (Measure::Nothing, Span::Blocks, Extrapolated)),
        ("tea:0.1", (Measure::Signal, Span::Blocks, Residual)),
        ("tea:0.1+taylor", (Measure::Signal, Span::Blocks, Extrapolated)),
        ("sea:0.1", (Measure::FilteredSignal, Span::Blocks, Residual)),
        ("fb:0.1", (Measure::FirstBlock, Span::OtherBlocks, Residual)),
        ("easy:0.1+start=3+taylor", (Measure::Output, Span::Model, Extrapolated)),
        ("mag:0.1@x", (Measure::Nothing, Span::Blocks, Residual)),
    ] {
        assert_eq!(values(spec), wanted, "{spec}");
    }
    // The same by hand.
    for spec in ["tea:0.1", "sea:0.1", "fb:0.1", "easy:0.1"] {
        let named = made(spec, 4);
        let by_hand = Policy::threshold(named.measure, rule(spec, 4));
        assert_eq!(format!("{named:?}"), format!("{by_hand:?}"));
    }
    assert_eq!(format!("{:?}", Policy::off(3)), format!("{:?}", made("off", 3)));
    assert_eq!(Spec::off().to_string(), "off");
}

/// Where no step may be skipped, no residual need be kept.
#[test]
fn what_reuses_nothing_says_so() {
    for (spec, reuses) in [
        ("off", false),
        ("off+taylor", false),
        ("uniform:1", false),
        ("uniform:2", true),
        ("mask:1111", false),
        ("mask:1011", true),
        ("tea:0", false),
        ("tea:0+taylor", false),
        ("tea:0.1+taylor", true),
        ("easy:0", false),
        ("mag:0@x", false),
        ("mag:9@x", true),
    ] {
        assert_eq!(made(spec, 4).reuses(), reuses, "{spec}");
    }
}

/// A rule that no name stands for: every step whose distance is below that of the step before is skipped.
#[test]
fn a_rule_of_ones_own_is_a_closure() {
    use steep::cache::{Decision, Step};
    let mut last = f64::NAN;
    let rule = move |step: usize, distance: Option<f64>| {
        let decision = match (step, distance) {
            (0, _) => Decision::Forced,
            (_, Some(d)) if d < last => Decision::Skipped,
            _ => Decision::Computed,
        };
        last = distance.unwrap_or(f64::NAN);
        Step::placed(decision, distance)
    };
    let mut policy = Policy {
        measure: Measure::Signal,
        rule: Rule::Host(Box::new(rule)),
        span: Span::OtherBlocks,
        stand_in: StandIn::Extrapolated,
    };
    assert!(policy.reuses());
    let list = [None, Some(0.3), Some(0.2), Some(0.1), Some(0.4), Some(0.3)];
    for _ in 0..2 {
        let steps = policy.replay(&list);
        assert_eq!(letters(&steps), "FCSSCS");
        assert!(steps.iter().map(|step| step.distance).eq(list));
    }
}

/// What the documentation's table and the messages are made from.
#[test]
fn the_table_of_policies_is_complete() {
    for (i, entry) in POLICIES.iter().enumerate() {
        assert!(POLICIES[..i].iter().all(|other| other.name != entry.name), "{} twice", entry.name);
        assert!(entry.arguments.is_empty() || entry.arguments.starts_with(':'), "{}", entry.name);
        assert!(entry.limits.iter().all(|limit| Limits::ALL.contains(limit)), "{}", entry.name);
        assert!(Spec::grammar().contains(&format!("{}{}", entry.name, entry.arguments)));
        let when = entry.skips_when;
        assert!(!when.is_empty() && !when.ends_with('.') && !when.contains(['\n', '|']), "{when}");
        assert!(entry.source.is_none_or(|(_, link)| link.starts_with("https://")), "{}", entry.name);
    }
    assert_eq!(Spec::names(|entry| entry.measure != Measure::Nothing), "tea, fb, sea or easy");
    assert_eq!(Spec::names(|entry| entry.name == "fb"), "fb");
    assert_eq!(Spec::names(|_| false), "");
}

#[test]
fn written_settings_parse_to_themselves() {
    let mut specs: Vec<String> = SETS.iter().map(|set| format!("tea:0.15:{}", set.name)).collect();
    let others = [
        "off",
        "uniform:1",
        "uniform:12",
        "mask:1",
        "mask:1001101",
        "tea:0",
        "tea:inf",
        "tea:0.30000000000000004",
        "tea:0.2:raw",
        "tea:0.2:abs",
        "tea:0.2:latte-1:raw",
        "tea:0.2:identity",
        "tea:0.2:1,-2.5,0.003,1,0:abs",
        "tea:0.2:0.1,0.7,-0.30000000000000004,12345678.9,-0.0000001",
        "fb:0.1",
        "sea:0.25",
        "easy:0.05",
        "mag:0.1@a file.json",
        "mag:0.1:4@x+y.json",
        "off+taylor",
        "mask:1001+taylor",
        "tea:0.2:latte-1:raw+start=3+end=40+max-skips=2+taylor",
        "mag:0.1:4@x+y.json+start=3+taylor",
    ];
    specs.extend(others.map(String::from));
    for text in specs {
        let spec: Spec = text.parse().unwrap();
        let written = spec.to_string();
        assert_eq!(written.parse::<Spec>().unwrap(), spec, "{text}");
        let name = text.split(':').nth(2).unwrap_or_default();
        let shares = ["cogvideox-5b-i2v", "consisid", "tango-flux", "lumina-image-2.0"];
        if !shares.contains(&name) && name != "flux-2-klein-base-9b" {
            assert_eq!(written, text);
        }
    }
    let consisid: Spec = "tea:0.15:consisid".parse().unwrap();
    assert_eq!(consisid.to_string(), "tea:0.15:cogvideox-5b");
    let clamp: Spec = "tea:1e-3:clamp".parse().unwrap();
    assert_eq!(clamp.to_string(), "tea:0.001");
}

#[test]
fn bad_settings_are_told_what_was_wanted() {
    let grammar = "off, uniform:N, mask:1011..., tea:THRESHOLD[:identity, :NAME or :c4,c3,c2,c1,c0][:raw, :clamp or :abs], \
        fb:THRESHOLD, sea:THRESHOLD, easy:THRESHOLD or mag:THRESHOLD[:K]@FILE; \
        then [+start=STEP][+end=STEP][+max-skips=N][+taylor]";
    let limited = "start, end and max-skips of tea, fb, sea or easy, or start and end of mag";
    let table = "mag:THRESHOLD[:K]@FILE, with a file that holds the model's magnitudes";
    let threshold = |got: &str| format!("a threshold from 0 to inf, not {got:?}");
    let tea = "tea:THRESHOLD[:identity, :NAME or :c4,c3,c2,c1,c0][:raw, :clamp or :abs]";
    let modifiers = |got: &str| format!("+start=STEP, +end=STEP, +max-skips=N or +taylor, not {got:?}");
    let uniform = "uniform:N with N at least 1";
    let digits = "a mask of 1 (compute) and 0 (skip)";
    let first = "a mask that begins with 1: there is nothing to reuse yet";
    let five = "five numbers c4,c3,c2,c1,c0, highest power first";
    for (spec, wanted) in [
        ("", grammar),
        ("on", grammar),
        ("off:1", "off"),
        ("OFF", grammar),
        ("uniform", "uniform:N"),
        ("tea", tea),
        ("tea:0.1:latte-1:raw:abs", tea),
        ("tea:0.1:raw:latte-1", tea),
        ("uniform:0", uniform),
        ("uniform:-2", uniform),
        ("uniform:2.5", uniform),
        ("uniform:", uniform),
        ("mask:", first),
        ("mask:011", first),
        ("mask:1012", digits),
        ("mask:1 0", digits),
        ("tea:", &threshold("")),
        ("tea:latte-1", &threshold("latte-1")),
        ("tea:-0.1", &threshold("-0.1")),
        ("tea:-inf", &threshold("-inf")),
        ("tea:nan", &threshold("nan")),
        ("tea:0,1", &threshold("0,1")),
        ("tea:0.1:1,2,3,4", five),
        ("tea:0.1:1,2,3,4,5,6", five),
        ("tea:0.1:1,2,3,4,x", five),
        ("tea:0.1:1,2,3,4,", five),
        ("tea:0.1:1,2,3,4,nan", "finite coefficients"),
        ("tea:0.1:inf,2,3,4,5", "finite coefficients"),
        ("fb", "fb:THRESHOLD"),
        ("fb:x", &threshold("x")),
        ("sea:-1", &threshold("-1")),
        ("easy:nan", &threshold("nan")),
        ("tea:0.1+tailor", &modifiers("+tailor")),
        ("tea:0.1+taylor+taylor", "taylor once"),
        ("taylor", grammar),
        ("+taylor", grammar),
        ("tea:0.1+foo=2", &modifiers("+foo=2")),
        ("tea:0.1+max_skips=2", &modifiers("+max_skips=2")),
        ("tea:0.1+start+taylor", &modifiers("+start")),
        ("tea:0.1+foo=2+max-skips=3", &modifiers("+foo=2")),
        ("tea:0.1:latte-1+Taylor", &modifiers("+Taylor")),
        ("uniform:2+", &modifiers("+")),
        ("off+foo", &modifiers("+foo")),
        ("mask:10+foo", &modifiers("+foo")),
        ("mag:0.1+foo=2", &modifiers("+foo=2")),
        ("tea:1e+x", &modifiers("+x")),
        ("mag:0.1", table),
        ("mag:0.1:4", table),
        ("mag:0.1@", table),
        ("mag:x@file", &threshold("x")),
        ("mag:0.1:x@file", "K, a number of steps, not \"x\""),
        ("mag:0.1@file+max-skips=3", limited),
        ("uniform:2+start=3", limited),
        ("off+end=3", limited),
        ("tea:0.1+max-skips=0", "max-skips of at least 1; `off` skips nothing"),
        ("tea:0.1+start=x", "a number of steps as start, not \"x\""),
        ("tea:0.1+start=-1", "a number of steps as start, not \"-1\""),
        ("tea:0.1+start=1+start=2", "start=1 or another, not both"),
    ] {
        let message = refused(spec);
        assert!(message.starts_with("cache \""), "{message}");
        assert!(message.ends_with(&format!("\": wanted {wanted}")), "{message}");
    }
    assert_eq!(refused("tea:0,1"), "cache \"tea:0,1\": wanted a threshold from 0 to inf, not \"0,1\"");
    refused("two\nlines");
}

#[test]
fn modifiers_come_in_any_order_and_numbers_may_have_signs() {
    let spec: Spec = "fb:0.1+taylor+max-skips=2+start=5".parse().unwrap();
    assert_eq!(spec.to_string(), "fb:0.1+start=5+max-skips=2+taylor");
    let spec: Spec = "tea:1e+3+taylor".parse().unwrap();
    assert_eq!(spec.to_string(), "tea:1000+taylor");
}

/// A table is a list, or an object that has one as `magnitudes`; anything else is told apart from it in one line.
#[test]
fn magnitudes_come_from_a_file() {
    let unreadable = |spec: &Spec| {
        let error = given(spec, None).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    let spec = |k: &str| format!("mag:0.3{k}@{}", path.display()).parse::<Spec>().unwrap();
    let run = |spec: Spec| {
        let given = given(&spec, None).unwrap();
        letters(&spec.policy(10, &given).unwrap().replay(&[None; 10]))
    };
    std::fs::write(&path, "[1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]").unwrap();
    assert_eq!(run(spec(":9")), "FFSSCSSCSS");
    assert_eq!(run(spec(":1")), "FFSCSCSCSC");
    assert_eq!(run(format!("{}+start=5+end=9", spec(":9")).parse().unwrap()), "FFFFFSSCSF");
    std::fs::write(&path, r#"{"model": "x", "magnitudes": [1, 0.9]}"#).unwrap();
    // Ten steps over two places: the second half has the second.
    assert_eq!(run(spec(":9")), "FFSSSSSCSS");
    for text in ["", "{", "{}", "[]", "[1, \"x\"]", "[1, -0.5]", "7", r#"{"magnitudes": {}}"#] {
        std::fs::write(&path, text).unwrap();
        let message = unreadable(&spec(""));
        assert!(message.contains("table.json") && message.contains("wanted magnitudes"), "{message}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(unreadable(&spec("")).contains("table.json"));
    // All but the file can be checked without it.
    assert_eq!(spec("").check(10), Ok(()));
    assert!(spec("").check(0).is_err());
    let wanted = "wanted the model's magnitudes, as `steep calibrate` measures them";
    assert!(refused_for(&spec(""), 10).ends_with(wanted));
}

#[test]
fn an_unknown_name_is_told_the_known_ones() {
    for spec in ["tea:0.1:wan", "tea:0.1:", "tea:0.1:latte-1:half", "tea:0.1:3"] {
        let message = refused(spec);
        if spec.ends_with("half") {
            assert!(message.contains("tea:THRESHOLD"), "{message}");
            continue;
        }
        let five_or = "five numbers c4,c3,c2,c1,c0; raw, clamp or abs; or one of identity, open-sora-1.2, ";
        assert!(message.contains(five_or), "{message}");
        assert!(SETS.iter().all(|set| message.contains(set.name)), "{message}");
    }
}

#[test]
fn a_policy_must_fit_the_number_of_steps() {
    let mask: Spec = "mask:10".parse().unwrap();
    let wanted = "cache \"mask:10\": wanted 3 digits, one per step, got 2";
    assert_eq!(refused_for(&mask, 3), wanted);
    assert_eq!(mask.check(3).unwrap_err().to_string(), wanted);
    for spec in ["off", "uniform:2", "mask:1", "tea:0.1"] {
        let message = refused_for(&spec.parse().unwrap(), 0);
        assert_eq!(message, "steps 0: wanted 1 to 100000");
        let message = refused_for(&spec.parse().unwrap(), usize::MAX);
        assert_eq!(message, format!("steps {}: wanted 1 to 100000", usize::MAX));
    }
}

#[test]
fn schedules_follow_their_definition() {
    assert_eq!(trace("off", 4), "CCCC");
    assert_eq!(trace("uniform:1", 4), "CCCC");
    assert_eq!(trace("uniform:3", 7), "CSSCSSC");
    assert_eq!(trace("uniform:3", 9), "CSSCSSCSC");
    assert_eq!(trace("uniform:100", 4), "CSSC");
    assert_eq!(trace("uniform:2", 1), "C");
    assert_eq!(trace("mask:100101", 6), "CSSCSC");
    assert_eq!(trace("tea:0.2", 3), "FCF");
    // Beyond its end, a schedule has nothing to say: the step computes.
    assert_eq!(letters(&made("mask:100", 3).replay(&[None; 5])), "CSSCC");
}

#[test]
fn schedules_keep_the_distance_and_compare_nothing() {
    for spec in ["off", "uniform:2", "mask:10"] {
        for step in made(spec, 2).replay(&[Some(0.5), Some(f64::MAX)]) {
            assert!(step.distance.is_some());
            assert_eq!((step.rescaled, step.accumulated), (None, 0.0));
        }
    }
}

#[test]
fn only_what_is_measured_is_the_rule_of_the_device() {
    for spec in ["fb:0.1", "sea:0.1", "easy:0.1", "tea:0.1+end=1+taylor"] {
        assert!(matches!(made(spec, 2).rule, Rule::Threshold(_)), "{spec}");
    }
    for spec in ["off", "uniform:2", "mask:10", "mag:1@x"] {
        assert!(matches!(made(spec, 2).rule, Rule::Schedule(_)), "{spec}");
    }
    let tea = rule("tea:0.2:latte-1:abs", 9);
    assert_eq!((tea.threshold, tea.negative, tea.steps), (0.2, Negative::Abs, 9));
    assert_eq!((tea.warmup, tea.force_last), (1, true));
    assert_eq!(rule("tea:0.2", 9).coefficients, IDENTITY);
}
