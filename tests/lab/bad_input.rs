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
