//! Checkpoints of any shape, made up: every weight is 0.1.

use serde_json::{Value, json};

/// The header, and the data, of a checkpoint of this configuration.
pub fn checkpoint(config: &str) -> (Value, Vec<u8>) {
    let c: Value = serde_json::from_str(config).unwrap();
    let n = |key: &str| c[key].as_u64().unwrap() as usize;
    let (d, patch, channels) = (n("dim"), n("patch"), n("channels"));
    let out = channels * if c["learn_sigma"] == true { 2 } else { 1 };
    let tokens = (n("height") / patch) * (n("width") / patch);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("pos_embed".into(), vec![1, tokens, d]),
        ("y_embedder.embedding_table.weight".into(), vec![n("classes") + 1, d]),
    ];
    if c["temporal"] == true {
        shapes.push(("temp_embed".into(), vec![1, n("frames"), d]));
    }
    let mut linear = |name: &str, shape: &[usize]| {
        shapes.push((format!("{name}.weight"), shape.to_vec()));
        shapes.push((format!("{name}.bias"), vec![shape[0]]));
    };
    linear("x_embedder.proj", &[d, channels, patch, patch]);
    linear("t_embedder.mlp.0", &[d, 256]);
    linear("t_embedder.mlp.2", &[d, d]);
    for i in 0..n("depth") {
        let hidden = n("mlp_ratio") * d;
        linear(&format!("blocks.{i}.adaLN_modulation.1"), &[6 * d, d]);
        linear(&format!("blocks.{i}.attn.qkv"), &[3 * d, d]);
        linear(&format!("blocks.{i}.attn.proj"), &[d, d]);
        linear(&format!("blocks.{i}.mlp.fc1"), &[hidden, d]);
        linear(&format!("blocks.{i}.mlp.fc2"), &[d, hidden]);
    }
    linear("final_layer.adaLN_modulation.1", &[2 * d, d]);
    linear("final_layer.linear", &[patch * patch * out, d]);

    let mut end = 0;
    let mut header = serde_json::Map::from_iter([("__metadata__".to_string(), json!({ "config": config }))]);
    for (name, shape) in shapes {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
    }
    (header.into(), 0.1f32.to_le_bytes().repeat(end / 4))
}

/// A safetensors file.
pub fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}
