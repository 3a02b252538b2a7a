//! Thirty-three mutants of the crate's own kernels through `steep try`: one mistake each, as people make them. All are caught but
//! those of [`EQUIVALENT`], which change nothing that the op promises.
//!
//! `cargo test --test lab mutants -- --ignored --nocapture` tries them, and prints what each is told. It takes minutes.

use steep::cases::ALL;
use steep::lab::{Language, as_file};

use crate::{Answer, Place, device, edited};

use Language::{Cuda, Wgsl};

/// Op, label of its source, type, what the line said, what it says now.
type Mutant = (Language, &'static str, &'static str, &'static str, &'static str, &'static str);

const MUTANTS: [Mutant; 35] = [
    // A barrier or a wait removed.
    (
        Cuda,
        "linear",
        "tile",
        "f32",
        "        __syncthreads();\n#pragma unroll\n        for (u32 k = 0",
        "#pragma unroll\n        for (u32 k = 0",
    ),
    (
        Cuda,
        "linear",
        "tile",
        "f32",
        "        __syncthreads();\n    }\n    const Finish",
        "    }\n    const Finish",
    ),
    (
        Cuda,
        "attention",
        "tile",
        "f32",
        "        // All are done with the keys.\n        __syncthreads();",
        "",
    ),
    (Cuda, "attention", "mma_short", "f16", "        cp_async_wait<0>();\n", ""),
    (
        Cuda,
        "attention",
        "mma",
        "f16",
        "        // The queries have arrived; the keys may be on their way.\n        cp_async_wait<1>();\n",
        "",
    ),
    (Cuda, "linear", "mma_small", "bf16", "cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();"),
    (Cuda, "attention", "mma", "bf16", "    __syncwarp();\n    for (u32 i = lane", "    for (u32 i = lane"),
    (
        Cuda,
        "tea_gate",
        "block",
        "f32",
        "        __syncthreads();\n        if (i < width)",
        "        if (i < width)",
    ),
    // A comparison that is off by one.
    (Cuda, "take", "vec4", "f32", "at + 4 <= p.elements &&", "at + 3 <= p.elements &&"),
    (Cuda, "modulate", "warp", "f16", "if (row >= m.rows)", "if (row > m.rows)"),
    (Cuda, "attention", "tile", "bf16", "key0 + tx + 16 * j >= p.length", "key0 + tx + 16 * j > p.length"),
    (Cuda, "linear", "naive", "f32", "k < p.depth", "k + 1 < p.depth"),
    (Wgsl, "attention", "online", "f32", "if id.x >= p.length {", "if id.x + 1u >= p.length {"),
    (Wgsl, "norm_ratio", "naive", "f32", "row < end; row++", "row <= end; row++"),
    // An index off by one, or of another axis.
    (
        Cuda,
        "spectral_filter",
        "vec4",
        "f32",
        "u32 back = place;",
        "u32 back = place + 1 == p.places ? 0 : place + 1;",
    ),
    (Cuda, "label_embed", "row", "f32", "min(labels[b], p.rows - 1)", "min(labels[b], p.rows)"),
    (Wgsl, "take", "naive", "f32", "table[p.index * p.elements + i]", "table[p.index * p.elements + i + 1u]"),
    (Wgsl, "modulate", "vec4", "f32", "(sample + p.shift_at) / 4u", "(sample + p.scale_at) / 4u"),
    (Wgsl, "linear", "subgroup", "f32", "four_rows(own, first + 4u)", "four_rows(own, first)"),
    (Wgsl, "linear", "naive", "f32", "let j = column * p.depth + k;", "let j = row * p.depth + k;"),
    // A lane swapped, or a share of them.
    (
        Cuda,
        "linear",
        "mma_small",
        "f16",
        "b[j][0] = pair[0], b[j][1] = pair[1];",
        "b[j][0] = pair[1], b[j][1] = pair[0];",
    ),
    (
        Cuda,
        "attention",
        "mma_short",
        "bf16",
        "lane % 4 * 2 + e % 2 >= p.length",
        "lane % 4 + e % 2 >= p.length",
    ),
    (
        Cuda,
        "attention",
        "mma",
        "f16",
        "__shfl_xor_sync(0xffffffffu, x, 2)",
        "__shfl_xor_sync(0xffffffffu, x, 4)",
    ),
    // A layout on one side only.
    (
        Cuda,
        "linear",
        "tile",
        "bf16",
        "column = column0 + 64 * j + 4 * tx;",
        "column = column0 + 8 * tx + 4 * j;",
    ),
    (
        Wgsl,
        "attention",
        "tile",
        "f32",
        "qp[(column + j * COLUMNS) * (ROWS + 1u) + row] =",
        "qp[(column + j * COLUMNS) * ROWS + row] =",
    ),
    // Less precision.
    (
        Cuda,
        "rel_l1",
        "vec",
        "f16",
        "        changes += sum(c[j]);",
        "        changes = rounded<f16>(changes + sum(c[j]));",
    ),
    (
        Cuda,
        "modulate_rel_l1",
        "block",
        "bf16",
        "change += changed;\n                size",
        "change = static_cast<float>(change + changed);\n                size",
    ),
    (
        Cuda,
        "modulate_rel_l1",
        "block",
        "bf16",
        "change += changed;\n                size",
        "change = rounded<T>(static_cast<float>(change + changed));\n                size",
    ),
    // A missing tail, a missing term.
    (
        Cuda,
        "rel_l1",
        "vec",
        "f32",
        "    if (at < end) {\n        step<false, 1>",
        "    if (at + 4 < end) {\n        step<false, 1>",
    ),
    (Cuda, "denoise", "pixel", "f32", "p.keep == 0.0f ? 0.0f : p.keep * z", "p.keep * z"),
    (Wgsl, "attention", "tile", "f32", "    l *= r;\n", ""),
    // The gate, and what is remembered.
    (Cuda, "take", "vec4", "f32", "    if (gated_off(gate)) {\n        return;\n    }\n", ""),
    (Wgsl, "rel_l1", "vec4", "f32", "  prev[i] = next;\n", ""),
    // Two sums in the steps of one: a warp with one of them alone, and a block's number of warps.
    (Cuda, "rel_l1", "vec", "f32", "x != N(0) || y != N(0)", "x != N(0)"),
    (
        Cuda,
        "rel_l1",
        "vec",
        "f32",
        "lane % 16 < blockDim.x / 32 ? scratch[lane % 16][half]",
        "lane % 8 < blockDim.x / 32 ? scratch[lane % 8][half]",
    ),
];

/// Numbers of mutants that cannot be told from the right kernel, with the reason.
const EQUIVALENT: [(usize, &str); 2] = [
    (
        8,
        "entries that are copied by vectors have a multiple of four elements, which is never three more than another one",
    ),
    (
        26,
        "a sum in f32 after sums of eight is as good as those of the op's WGSL sources, which have no f64, and its error is \
         within the bound that holds for them",
    ),
];

/// A source's text with the included file in it that has the line, where the source itself does not.
fn with_includes(text: &str, language: Language, line: &str) -> String {
    if text.contains(line) {
        return text.to_string();
    }
    let folder = if language == Cuda { "kernels" } else { "wgsl" };
    let put_in = |include: &str| {
        let path = include.strip_prefix("#include \"")?.strip_suffix('"')?;
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(path);
        let text = std::fs::read_to_string(path).ok()?;
        text.contains(line).then(|| text.replace("#pragma once\n", ""))
    };
    let lines = text.lines().map(|line| put_in(line).unwrap_or_else(|| line.to_string()));
    lines.map(|line| line + "\n").collect()
}

/// The text of an op's source, with this line in it.
fn text_of(language: Language, op: &str, label: &str, line: &str) -> String {
    let listed = ALL.iter().find(|listed| listed.kernel.name == op).unwrap();
    let mut sources = listed.kernel.sources().filter_map(|source| {
        let (found, text) = as_file(listed.kernel, source, listed.dtypes)?;
        (source.label == label && found == language).then_some(text)
    });
    let text = sources.next().unwrap_or_else(|| panic!("{op} has no source {label}"));
    with_includes(&text, language, line)
}

/// The lines that mutants change are those of the kernels of today.
#[test]
fn every_mutant_changes_a_line_that_is_there() {
    for (language, op, label, _, from, to) in MUTANTS {
        assert_ne!(edited(&text_of(language, op, label, from), from, to), text_of(language, op, label, from));
    }
}

#[test]
#[ignore = "takes minutes; see above"]
fn all_mutants_but_those_that_are_equivalent_are_caught() {
    let mut escaped = vec![];
    let mut tried = 0;
    for (number, (language, op, label, dtype, from, to)) in MUTANTS.into_iter().enumerate() {
        let Some(device) = device(language) else { continue };
        let text = text_of(language, op, label, from);
        let name = format!("{op}.{}", language.extension());
        let place = Place::with(&name, edited(&text, from, to));
        let arguments = format!("{name} --device {device} --dtype {dtype} --values 0");
        let out = Answer::of(&arguments, place.command(&arguments).output().unwrap());
        tried += 1;
        println!("{number}: {op} {label} {dtype}: `{}`\n{}{}", to.trim(), out.out, out.err);
        assert!(!out.out.contains("error: "), "a mutant that does not compile proves nothing: {}", out.out);
        match out.status {
            Some(1) => {}
            Some(0) => escaped.push(number),
            _ => panic!("{arguments}: {}", out.err),
        }
    }
    for (number, why) in EQUIVALENT {
        println!("{number} cannot be told from the right kernel: {why}");
    }
    println!("{} of {tried} mutants are caught; {escaped:?} escape", tried - escaped.len());
    let known: Vec<usize> = EQUIVALENT.iter().map(|(number, _)| *number).collect();
    assert_eq!(escaped, known);
}
