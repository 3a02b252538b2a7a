//! An op's parameters have one layout: `struct Params` of its Rust file has the same fields, in the same order and of
//! the same types, in every WGSL and every CUDA source of the op. All are read from the texts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use steep::DType;
#[cfg(feature = "cuda")]
use steep::device::cuda;
use steep::device::wgpu::prelude::{Module, Variant};
use steep::device::{Code, Source};
use steep::ops::ALL;

/// A field's name and type.
type Field = (String, String);
/// The fields of every struct of a language, by the struct's name.
type Structs = HashMap<String, Vec<Field>>;

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A text without its comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The name and the body of each struct. Those of structs with functions are of no use, and nobody asks for them.
fn bodies(text: &str) -> Vec<(String, String)> {
    let starts = text.match_indices("struct ").map(|(at, word)| &text[at + word.len()..]);
    let named = starts.filter_map(|rest| rest.split_once('{'));
    named.map(|(name, rest)| (name.trim().into(), rest.split('}').next().unwrap().into())).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().filter(|word| !word.starts_with("pub")).map(String::from).collect()
}

/// `name: type, ..`, as Rust and WGSL have it.
fn name_first(body: &str) -> Vec<Field> {
    let fields = body.split(',').filter_map(|field| field.split_once(':'));
    fields.map(|(name, ty)| (words(name).join(" "), words(ty).join(" "))).collect()
}

/// `type name, name; ..`, as C++ has it.
fn type_first(body: &str) -> Vec<Field> {
    let lines = body.split(';').filter_map(|line| line.trim().split_once(char::is_whitespace));
    lines
        .flat_map(|(ty, names)| names.split(',').map(|n| (n.trim().into(), ty.into())).collect::<Vec<_>>())
        .collect()
}

fn structs(text: &str, fields: fn(&str) -> Vec<Field>) -> Structs {
    bodies(&code(text)).into_iter().map(|(name, body)| (name, fields(&body))).collect()
}

/// The fields of `name`, those of structs within it in their places. Every type has four bytes, so the order is the
/// layout, and the number of fields the size.
fn flat(file: &str, structs: &Structs, name: &str) -> Vec<Field> {
    let fields = structs.get(name).unwrap_or_else(|| panic!("{file}: no struct {name}"));
    let each = fields.iter().flat_map(|(field, ty)| match ty.as_str() {
        "u32" | "f32" => vec![(field.clone(), ty.clone())],
        inner if structs.contains_key(inner) => flat(file, structs, inner),
        _ => panic!("{file}: {name}: {field}: {ty} is neither u32 nor f32"),
    });
    each.collect()
}

/// What a text calls `Params`: a struct of that name, or the one before ` as Params` or behind `Params = `.
fn alias(text: &str) -> String {
    let text = code(text);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if let Some((before, _)) = text.split_once(" as Params") {
        before.rsplit(|c| !word(c)).next().unwrap().into()
    } else if let Some((_, behind)) = text.split_once("using Params = ") {
        behind.split(|c| !word(c)).next().unwrap().into()
    } else {
        "Params".into()
    }
}

fn rust(op: &str) -> Vec<Field> {
    let file = format!("src/ops/{op}.rs");
    let text = read(&file);
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops/shared");
    let mut files: Vec<PathBuf> = shared.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let all = files.iter().map(read).chain([text.clone()]).collect::<String>();
    flat(&file, &structs(&all, name_first), &alias(&text))
}

/// A CUDA file behind the headers that it includes.
fn with_headers(text: &str) -> String {
    let included = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.split('"').next());
    let headers = included.filter(|name| name.ends_with(".cuh"));
    headers.map(|name| with_headers(&read(Path::new("kernels").join(name)))).collect::<String>() + text
}

/// The file of a source, and its fields.
fn of(source: &Source) -> (String, Vec<Field>) {
    match &source.code {
        Code::Wgsl { text, constants, .. } => {
            let module = Module::new(&Variant::plain(DType::F32), constants, *text).unwrap();
            let file = format!("wgsl/{}", text.file);
            let fields = flat(&file, &structs(module.text(), name_first), "Params");
            (file, fields)
        }
        Code::Cuda(code) => {
            let file = format!("kernels/{}", code.text.file);
            let text = with_headers(code.text.text);
            let fields = flat(&file, &structs(&text, type_first), &alias(&text));
            (file, fields)
        }
        Code::Cpu(_) => unreachable!("in Rust, there is one struct for all sources"),
    }
}

#[test]
fn params_are_the_same_in_every_language() {
    let mut wrong = vec![];
    for kernel in ALL {
        let wanted = rust(kernel.name);
        assert!(!wanted.is_empty(), "{}: no parameters", kernel.name);
        for source in kernel.wgsl.iter().chain(kernel.cuda) {
            let (file, found) = of(source);
            let length = wanted.len().max(found.len());
            let show =
                |field: Option<&Field>| field.map_or("nothing".into(), |(name, ty)| format!("{name}: {ty}"));
            let first = (0..length).find(|&i| wanted.get(i) != found.get(i));
            wrong.extend(first.map(|i| {
                let [there, here] = [found.get(i), wanted.get(i)].map(show);
                format!("{file}: field {i} of Params is {there}; src/ops/{}.rs has {here}", kernel.name)
            }));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The macro of an amount of shared memory is the number that the launch has.
#[test]
#[cfg(feature = "cuda")]
fn kernels_are_told_their_shared_memory() {
    let mut told = 0;
    for variant in ALL.iter().copied().flat_map(cuda::modules::variants) {
        let defined = variant.unit.defines.iter().filter_map(|define| define.strip_prefix("SHARED_BYTES="));
        let defined: Vec<usize> = defined.map(|bytes| bytes.parse().unwrap()).collect();
        let wanted = if variant.shared == 0 { vec![] } else { vec![variant.shared] };
        assert_eq!(defined, wanted, "{} {}", variant.source.label, variant.label);
        told += defined.len();
    }
    assert!(told > 0);
}
