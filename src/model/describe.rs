//! The configuration of a file that has none in its metadata: from the shapes of its tensors, a `config.json`, and what
//! the user says.

use serde_json::{Map, Value, json};

use super::Config;
use super::config::FIELDS;
use super::names::Layout;
use crate::{Error, Result};

/// Depth, width and heads of the models that were published without a configuration: DiT-S, B, L and XL, and Latte's.
const PUBLISHED: [[usize; 3]; 4] = [[12, 384, 6], [12, 768, 12], [24, 1024, 16], [28, 1152, 16]];

/// What others call fields of a configuration.
const KEYS: [(&str, &[&str]); 8] = [
    ("num_attention_heads", &["heads"]),
    ("num_heads", &["heads"]),
    ("num_layers", &["depth"]),
    ("hidden_size", &["dim"]),
    ("in_channels", &["channels"]),
    ("patch_size", &["patch"]),
    ("sample_size", &["height", "width"]),
    ("input_size", &["height", "width"]),
];
/// The same, of fields that keep their name, or that have a like one.
const MORE_KEYS: [(&str, &[&str]); 2] = [("num_frames", &["frames"]), ("norm_eps", &["mlp_epsilon"])];

/// Fields of diffusers' configurations that have one value here: another one is another model.
const FIXED: [(&str, &str); 5] = [
    ("_class_name", r#""DiTTransformer2DModel""#),
    ("norm_type", r#""ada_norm_zero""#),
    ("activation_fn", r#""gelu-approximate""#),
    ("attention_bias", "true"),
    ("norm_elementwise_affine", "false"),
];

/// Fields of diffusers' schedulers that have one value here.
const SCHEDULE: [(&str, &str); 6] = [
    ("prediction_type", r#""epsilon""#),
    ("beta_schedule", r#""linear""#),
    ("beta_start", "0.0001"),
    ("beta_end", "0.02"),
    ("num_train_timesteps", "1000"),
    ("trained_betas", "null"),
];

/// What is known of a file, and where it is.
pub(super) struct Known<'a> {
    pub layout: &'static Layout,
    /// The shape of a tensor by our name.
    pub shape: &'a dyn Fn(&str) -> Option<Vec<usize>>,
    /// The configuration in the file's metadata.
    pub own: Option<&'a str>,
    /// The text of a `config.json` beside it, which counts where there is no own.
    pub beside: Option<&'a str>,
    /// What the user says.
    pub given: Option<&'a str>,
}

impl Known<'_> {
    /// The configuration. What nothing tells is one error, which asks for all of it.
    pub fn config(&self) -> Result<Config> {
        if let (Some(own), None) = (self.own, self.given) {
            return Config::from_json(own);
        }
        let mut fields = self.own.map_or_else(|| self.facts(), |own| object("config", own))?;
        if let Some(text) = self.beside.filter(|_| self.own.is_none()) {
            overlay(&mut fields, &object("config.json", text)?, "config.json")?;
        }
        if let Some(text) = self.given {
            let given = object("--config", text)?;
            let known = |key: &String| {
                let others = KEYS.iter().chain(&MORE_KEYS).map(|(key, _)| *key);
                let fixed = FIXED.iter().map(|(key, _)| *key);
                let ours = FIELDS.iter().map(|field| field.name);
                others
                    .chain(fixed)
                    .chain(ours)
                    .chain(["attention_head_dim", "out_channels"])
                    .any(|k| k == key)
            };
            if let Some(key) = given.keys().find(|key| !known(key)) {
                let ours: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
                return Err(Error::setting(format!("--config: {key}"), ours.join(", ")));
            }
            overlay(&mut fields, &given, "--config")?;
        }
        self.published(&mut fields);
        self.ask(&fields)?;
        Config::from_json(&Value::Object(fields).to_string())
    }

    /// What the shapes tell.
    fn facts(&self) -> Result<Map<String, Value>> {
        let shape = self.shape;
        let wrong = |name: &str, got: Option<Vec<usize>>, wanted: &str| {
            let name = self.layout.stored(name).join(" and ");
            let got = got.map_or("missing".into(), |shape| format!("{shape:?}"));
            Error::setting(format!("{name} is {got}"), wanted)
        };
        let (patches, head) = ("x_embedder.proj.weight", "final_layer.linear.weight");
        let [dim, channels, patch] = match shape(patches).as_deref() {
            Some(&[d, c, p, q]) if p == q && d * c * p > 0 => [d, c, p],
            got => return Err(wrong(patches, got.map(<[_]>::to_vec), "[d, C, p, p]")),
        };
        let pixel = (patch * patch).saturating_mul(channels);
        let learn_sigma = match shape(head).as_deref() {
            Some(&[n, _]) if n == pixel => false,
            Some(&[n, _]) if n == pixel.saturating_mul(2) => true,
            got => {
                let wanted =
                    format!("[{pixel} or {}, {dim}]: the noise of each pixel, and its variance", 2 * pixel);
                return Err(wrong(head, got.map(<[_]>::to_vec), &wanted));
            }
        };
        let block = |i: usize| shape(&format!("blocks.{i}.mlp.fc1.weight"));
        let depth = (0..).take_while(|&i| block(i).is_some()).count();
        let mlp_ratio = match block(0).as_deref() {
            Some(&[hidden, _]) if hidden > 0 && hidden % dim == 0 => hidden / dim,
            got => {
                let wanted = format!("[a multiple of {dim}, {dim}]");
                return Err(wrong("blocks.0.mlp.fc1.weight", got.map(<[_]>::to_vec), &wanted));
            }
        };
        let table = |name: &str| match shape(name).as_deref() {
            Some([.., rows, _]) => Some(*rows),
            _ => None,
        };
        let frames = table("temp_embed");
        let classes = table("y_embedder.embedding_table.weight").map_or(0, |rows| rows.saturating_sub(1));
        let mut fields = json!({
            "frames": frames.unwrap_or(1),
            "channels": channels,
            "patch": patch,
            "dim": dim,
            "depth": depth,
            "mlp_ratio": mlp_ratio,
            "classes": classes,
            "temporal": frames.is_some(),
            "learn_sigma": learn_sigma,
            "prediction": "epsilon",
            "mlp_epsilon": self.layout.mlp_epsilon,
            "time_divisor": self.layout.time_divisor,
        });
        if let (Some(guided), None) = (self.layout.guided.filter(|&n| n < channels), frames) {
            fields["guided"] = json!(guided);
        }
        if let Some(side) = table("pos_embed").and_then(square) {
            fields["height"] = json!(side * patch);
            fields["width"] = json!(side * patch);
        }
        let Value::Object(fields) = fields else { unreachable!("it was made as one") };
        Ok(fields)
    }

    /// The heads of a model that was published in this size.
    fn published(&self, fields: &mut Map<String, Value>) {
        let number = |key: &str| fields.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
        let known =
            PUBLISHED.iter().find(|[depth, dim, _]| [number("depth"), number("dim")] == [*depth, *dim]);
        if let (Some([.., heads]), false) = (known, fields.contains_key("heads")) {
            fields.insert("heads".into(), json!(heads));
        }
    }

    fn ask(&self, fields: &Map<String, Value>) -> Result<()> {
        let questions = [
            ("heads", "how many heads attention has", r#""heads": 16"#),
            ("height", "how large a frame is, in latents", r#""height": 32, "width": 32"#),
        ];
        let open = questions.iter().filter(|(key, ..)| !fields.contains_key(*key));
        let (what, example): (Vec<&str>, Vec<&str>) =
            open.map(|(_, what, example)| (*what, *example)).unzip();
        match what.is_empty() {
            true => Ok(()),
            false => Err(Error::setting(
                format!("its tensors do not tell {}", what.join(", and ")),
                format!(
                    "a `config` in its metadata, a config.json beside it, or for example --config '{{{}}}'",
                    example.join(", ")
                ),
            )),
        }
    }
}

/// The side of a square of `n`.
pub(super) fn square(n: usize) -> Option<usize> {
    Some(n.isqrt()).filter(|side| *side > 0 && side * side == n)
}

fn object(whose: &str, text: &str) -> Result<Map<String, Value>> {
    let wanted = || format!("a JSON object such as {}", Config::EXAMPLE);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value: Value = serde_json::from_str(text)
        .map_err(|e| Error::setting(format!("{whose}: not JSON: {e}"), wanted()))?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(Error::setting(format!("{whose}: not a JSON object"), wanted())),
    }
}

/// Whether a value is the one that there is: numbers as numbers.
fn is(value: &Value, wanted: &str) -> bool {
    let wanted: Value = serde_json::from_str(wanted).unwrap_or(Value::Null);
    *value == wanted || (value.is_number() && value.as_f64() == wanted.as_f64())
}

/// Puts what `from` says in the place of what `fields` has.
fn overlay(fields: &mut Map<String, Value>, from: &Map<String, Value>, whose: &str) -> Result<()> {
    for (key, wanted) in FIXED {
        if let Some(value) = from.get(key).filter(|value| !is(value, wanted)) {
            return Err(Error::setting(format!("{whose}: {key} is {value}"), wanted));
        }
    }
    for (key, value) in from {
        // Written as 4.0 by some.
        let whole = value.as_f64().filter(|x| value.is_f64() && x.fract() == 0.0 && (0.0..1e9).contains(x));
        let value = whole.map_or(value.clone(), |x| json!(x as u64));
        let theirs = KEYS.iter().chain(&MORE_KEYS).find(|(name, _)| name == key);
        for name in theirs.map_or(&[][..], |(_, names)| names) {
            fields.insert((*name).into(), value.clone());
        }
        if FIELDS.iter().any(|field| field.name == key) {
            fields.insert(key.clone(), value);
        }
    }
    let number = |of: &Map<String, Value>, key: &str| of.get(key).and_then(Value::as_u64);
    if let (Some(head), Some(dim)) = (number(from, "attention_head_dim"), number(fields, "dim")) {
        let theirs =
            ["num_attention_heads", "num_heads", "heads"].into_iter().find_map(|key| number(from, key));
        let heads = theirs.or(dim.checked_div(head)).unwrap_or(0);
        if heads.checked_mul(head) != Some(dim) {
            let what = format!("{whose}: {heads} heads of {head}");
            return Err(Error::setting(what, format!("{dim} channels in all, as its tensors have")));
        }
        fields.insert("heads".into(), json!(heads));
    }
    if let (Some(out), Some(channels)) = (number(from, "out_channels"), number(fields, "channels")) {
        fields.insert("learn_sigma".into(), json!(out != channels));
    }
    Ok(())
}

/// Checks that a scheduler's configuration has the noise levels that models of noise have here.
pub(super) fn check_scheduler(text: &str) -> Result<()> {
    let fields = object("scheduler_config.json", text)?;
    for (key, wanted) in SCHEDULE {
        if let Some(value) = fields.get(key).filter(|value| !is(value, wanted)) {
            return Err(Error::setting(format!("{key} is {value}"), wanted));
        }
    }
    Ok(())
}
