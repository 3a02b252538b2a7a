//! Files that cannot be tried: one line says why, with the file and the line.

use steep::lab::Language;

use crate::{Place, device, edited, kernel};

fn refused(name: &str, text: impl AsRef<[u8]>, words: &[&str]) {
    Place::with(name, text).run(name).refused(words);
}

#[test]
fn files_that_are_no_kernels() {
    let [cuda, wgsl] = ["rel_l1.cu", "rel_l1.wgsl"].map(kernel);
    for (name, text) in [("mine.cu", &cuda), ("mine.wgsl", &wgsl)] {
        let foo = text.replace("rel_l1(", "foo(");
        refused(
            name,
            &foo,
            &[name, "the entry point `foo` is no op", "wanted one of", "rel_l1", "steep: op = NAME"],
        );
        refused(name, "// nothing\n", &[name, "no entry point: wanted", "NAME("]);
        refused(name, "", &[name, "no entry point"]);
        let header = |from: &str, to: &str| edited(text, from, to);
        let tile = "// steep: tile = 1, 1, 1";
        refused(name, header(tile, ""), &[name, "its header lacks `tile`: wanted a line such as"]);
        refused(
            name,
            header(tile, "// steep: tile = 1, 1"),
            &[&format!("{name}:3: tile = 1, 1: wanted three whole")],
        );
        refused(
            name,
            header(tile, "// steep: tile = 1, 0, 1"),
            &[&format!("{name}:3: tile = 1, 0, 1: wanted three")],
        );
        refused(
            name,
            header(tile, "// steep: tyle = 1"),
            &[&format!("{name}:3: `// steep: tyle`: wanted one of tile,")],
        );
        refused(
            name,
            header(tile, &format!("{tile}\n{tile}")),
            &[&format!("{name}:4: tile: wanted it once")],
        );
        let more = |line: &str| header(tile, &format!("{tile}\n// steep: {line}"));
        refused(name, more("multiple = 3"), &[&format!("{name}:4: multiple = 3: wanted 1, 2, 4")]);
        refused(name, more("constants = 4"), &[&format!("{name}:4: constants = 4: wanted NAME = NUMBER")]);
        refused(
            name,
            more("constants = A = -1"),
            &[&format!("{name}:4: constants = A = -1: wanted NAME = NUMBER")],
        );
        refused(name, more("needs = luck"), &[&format!("{name}:4: needs = luck: wanted nothing, subgroups")]);
        refused(
            name,
            more("op = nothing"),
            &[&format!("{name}:4: no op `nothing`: wanted one of patch_embed")],
        );
        let mut large = text.clone().into_bytes();
        large.resize(10 << 20, b'\n');
        refused(name, large, &[name, "10485760 bytes: wanted a kernel of at most 1048576"]);
        refused(name, [text.as_bytes(), b"\xff"].concat(), &[name, "not UTF-8"]);
        refused(name, [text.as_bytes(), b"\0"].concat(), &[name, "a zero byte: wanted text"]);
    }
    refused("mine.cu", edited(&cuda, "// steep: threads = 128\n", ""), &["its header lacks `threads`"]);
    refused(
        "mine.cu",
        edited(&cuda, "threads = 128", "threads = 2000"),
        &["mine.cu:4: threads = 2000: wanted 1 to 1024"],
    );
    refused(
        "mine.cu",
        edited(&cuda, "threads = 128", "threads = 8\n// steep: shared = 4 *"),
        &["mine.cu:5: shared = 4 *: wanted a number"],
    );
    refused("mine.cu", edited(&cuda, "extern \"C\" ", ""), &["mine.cu:11: wanted `extern \"C\" __global__`"]);
    refused(
        "mine.cu",
        format!("{cuda}\nextern \"C\" __global__ void two() {{}}\n"),
        &["mine.cu:40: a second kernel, `two`"],
    );
    refused(
        "mine.wgsl",
        edited(&wgsl, "dtypes = f32", "dtypes = f64"),
        &["mine.wgsl:4: dtypes = f64: wanted some of"],
    );
    refused("mine.txt", &wgsl, &["mine.txt", "wanted a name that ends with .wgsl or .cu"]);
    let place = Place::new();
    place.run("absent.cu").refused(&["absent.cu", "wanted a kernel"]);
    place.run(".").refused(&["is a folder"]);
    place.run("--new nothing --language cuda").refused(&["op `nothing`: wanted patch_embed"]);
    place.run("--new rel_l1 --language rust").refused(&["language `rust`: wanted wgsl or cuda"]);
}

/// Filters that leave nothing, and devices of the other language.
#[test]
fn nothing_to_try() {
    let Some(device) = device(Language::Wgsl) else { return };
    let place = Place::with("mine.wgsl", kernel("rel_l1.wgsl"));
    let run = |more: &str| place.run(&format!("mine.wgsl --device {device} {more}"));
    run("--dtype bf16").refused(&["rel_l1: no such case: wanted a dtype of f32"]);
    run("--shape 7x7x7").refused(&["rel_l1: no such case"]);
    place.run("mine.wgsl --device cuda").refused(&["device cuda: wanted wgpu"]);
    place.run("mine.wgsl --device wgpu:77").refused(&["wgpu:77", "no such adapter"]);
}

/// A header that lets no case through, in either language: neither right nor wrong.
#[test]
fn a_kernel_that_takes_no_case_was_not_tried() {
    for language in [Language::Wgsl, Language::Cuda] {
        let Some(device) = device(language) else { continue };
        let name = format!("mine.{}", language.extension());
        let text = kernel(&format!("rel_l1.{}", language.extension()));
        let tile = "// steep: tile = 1, 1, 1";
        // The smallest runs have one element and three.
        let text = edited(&text, tile, &format!("{tile}\n// steep: multiple = 64"));
        let place = Place::with(&name, text);
        let asked = format!("{name} --device {device} --dtype f32 --largest 50");
        let out = place.run(&asked);
        out.refused(&[&name, "it takes none of the cases: wanted other filters"]);
        assert!(out.out.contains("not tried: it takes none of the cases"), "{}", out.out);
        assert!(!out.out.contains("wrong"), "{}", out.out);
        let out = place.run(&format!("{asked} --json"));
        out.refused(&["it takes none of the cases"]);
        let all: serde_json::Value = serde_json::from_str(&out.out).unwrap();
        assert!(all["right"].is_null() && all["reports"][0]["cases"] == 0, "{all}");
    }
}

/// An adapter without what a shader needs is left out in words, and the others judge.
#[test]
fn an_adapter_that_lacks_something_is_left_out() {
    let Some(device) = device(Language::Wgsl) else { return };
    let tile = "// steep: tile = 1, 1, 1";
    let text = edited(&kernel("rel_l1.wgsl"), tile, &format!("{tile}\n// steep: needs = cpu_adapter"));
    let place = Place::with("mine.wgsl", text);
    let run = |devices: &str| place.run(&format!("mine.wgsl --device {devices} --largest 200"));
    let lacks = "not tried: it lacks what the file needs: a software adapter with subgroups";
    // What every browser promises has no subgroups, on any adapter.
    let out = run("wgpu:core");
    out.refused(&["mine.wgsl: nothing ran it: wanted an adapter"]);
    assert!(out.out.contains(lacks), "{}", out.out);
    let out = run(&format!("wgpu:core,{device}"));
    assert!(out.out.contains(lacks), "{}", out.out);
    match pollster::block_on(steep::Device::open(device)).unwrap().has(steep::device::Need::CpuAdapter) {
        true => out.right(),
        false => out.refused(&["nothing ran it"]),
    }
}

/// Without a compiler there is no emulator, and that is what is said.
#[test]
fn a_missing_compiler_is_named() {
    let place = Place::with("mine.cu", kernel("rel_l1.cu"));
    let mut command = place.command("mine.cu");
    command.env("PATH", place.0.path());
    let out = crate::Answer::of("without g++", command.output().unwrap());
    out.refused(&["device emulator: no C++ compiler", "install g++ (Debian and Ubuntu: apt install g++"]);
}

/// File names that a shell or a compiler would take apart.
#[test]
fn names_of_files_are_only_names() {
    let Some(device) = device(Language::Cuda) else { return };
    let name = "it's \"$(touch x)\"; `y`.cu";
    let place = Place::with(name, edited(&kernel("rel_l1.cu"), "const float next", "const floot next"));
    let mut command = place.command("--dtype f32 --largest 200 --device");
    let out = crate::Answer::of(name, command.arg(device).arg(name).output().unwrap());
    out.wrong(&[&format!("{name}:19:15: error: 'floot'")]);
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 1);
}

/// The page and the library's documentation list the same keys, which are those that a wrong one is told.
#[test]
fn the_keys_of_the_header_are_documented() {
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let library = read("src/lab/header.md");
    let table = &library[library.find("| key").unwrap()..];
    assert!(read("docs/lab.md").contains(table), "docs/lab.md has another table than src/lab/header.md");
    let keys: Vec<&str> = table.lines().skip(2).map(|row| row.split('`').nth(1).unwrap()).collect();
    refused("mine.cu", edited(&kernel("rel_l1.cu"), "tile =", "tyle ="), &[&keys.join(", ")]);
}
