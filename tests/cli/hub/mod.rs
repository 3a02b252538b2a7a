//! Models of the Hugging Face hub, from a hub on this machine.
#![cfg(all(target_os = "linux", feature = "hub"))]

mod site;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{Place, complaint, text};
use site::{COMMIT, REPO, Site};

const MODEL: &str = "hf:someone/small-dit";
const OTHER_COMMIT: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// A pipeline of diffusers in three shards, a PyTorch file, and what is not read.
fn files() -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published");
    let mut files = BTreeMap::new();
    for folder in ["transformer", "scheduler", "vae"] {
        for entry in fs::read_dir(root.join("diffusers").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files.insert("originals/latte.pt".into(), fs::read(root.join("latte.pt")).unwrap());
    for (name, text) in [
        ("README.md", "a model"),
        ("model_index.json", r#"{"_class_name": "DiTPipeline"}"#),
        ("transformer/diffusion_pytorch_model.bin", "the same as another program has it"),
    ] {
        files.insert(name.into(), text.into());
    }
    files
}

/// A folder with a cache in it, and a hub.
struct World {
    place: Place,
    site: Site,
}

impl World {
    fn new() -> World {
        World { place: Place::new(), site: Site::new(files()) }
    }

    fn command(&self, args: &str) -> Command {
        let mut command = self.place.command(&args.split(' ').collect::<Vec<_>>());
        let ours =
            ["HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"];
        for name in [&ours[..], &["HF_HUB_OFFLINE", "XDG_CACHE_HOME"]].concat() {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.place.path("home")).env("HF_ENDPOINT", &self.site.address);
        command.env("NO_PROXY", "*");
        command
    }

    fn run(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &str) -> String {
        said(&self.run(args))
    }

    #[track_caller]
    fn refuses(&self, args: &str, words: &[&str]) {
        refused(&self.run(args), words);
    }

    /// Of the only repository, in the cache.
    fn cached(&self, name: &str) -> std::path::PathBuf {
        self.place.path("home/hub/models--someone--small-dit").join(name)
    }
}

#[track_caller]
fn said(out: &Output) -> String {
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    text(&out.stdout)
}

#[track_caller]
fn refused(out: &Output, words: &[&str]) {
    let said = complaint(out, 2);
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
}

/// The files that were asked for as a whole, or from some byte on.
fn transferred(asked: &[String]) -> Vec<&str> {
    let whole = asked.iter().filter(|line| !line.contains("bytes=0-0") && line.contains("bytes="));
    whole.filter(|line| !line.starts_with("/cdn/")).map(|line| line.rsplit_once("4567/").unwrap().1).collect()
}

#[test]
fn a_model_is_downloaded_once() {
    let world = World::new();
    let shown = world.ok(&format!("inspect {MODEL}"));
    assert!(shown.starts_with("small-dit\n") && shown.contains("d = 16"), "{shown}");
    let asked = world.site.asked();
    assert_eq!(asked[0], format!("/api/models/{REPO}/revision/main"));
    let shard =
        |n| format!("transformer/diffusion_pytorch_model-0000{n}-of-00003.safetensors range bytes=0-");
    let wanted = [
        "transformer/diffusion_pytorch_model.safetensors.index.json range bytes=0-".to_string(),
        "transformer/config.json range bytes=0-".into(),
        "scheduler/scheduler_config.json range bytes=0-".into(),
        "model_index.json range bytes=0-".into(),
        shard(1),
        shard(2),
        shard(3),
    ];
    assert_eq!(transferred(&asked), wanted);
    // As all of the hub's programs keep it.
    assert_eq!(fs::read_to_string(world.cached("refs/main")).unwrap(), COMMIT);
    let kept = world.cached(&format!("snapshots/{COMMIT}/transformer/config.json"));
    assert!(fs::symlink_metadata(&kept).unwrap().is_symlink());
    assert_eq!(fs::read(kept).unwrap(), files()["transformer/config.json"]);
    assert_eq!(world.place.names(), ["home"]);

    // The hub is asked what the branch is now, and for no file.
    assert_eq!(world.ok(&format!("inspect {REPO}")), shown);
    assert_eq!(world.site.asked(), [format!("/api/models/{REPO}/revision/main")]);
    // A commit stays what it is.
    assert_eq!(world.ok(&format!("inspect {MODEL}@{COMMIT}")), shown);
    let offline =
        |model: &str| world.command(&format!("inspect {model}")).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert_eq!(said(&offline(MODEL)), shown);
    assert!(world.site.asked().is_empty());

    // Another commit with the same weights: only what is new is transferred.
    {
        let mut state = world.site.state();
        state.commit = OTHER_COMMIT.into();
        state.files.insert("README.md".into(), "another text".into());
    }
    assert_eq!(world.ok(&format!("inspect {MODEL}")), shown);
    let asked = world.site.asked();
    assert!(asked.iter().skip(1).all(|line| line.ends_with("bytes=0-0")), "{asked:?}");
    assert_eq!(said(&offline(&format!("{MODEL}@{OTHER_COMMIT}"))), shown);
}

/// Where the hub cannot be reached, its cache does, with a warning; and without one, one line says all of it.
#[test]
fn without_a_network() {
    let world = World::new();
    world.ok(&format!("inspect {MODEL}"));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away =
        |args: &str| world.command(args).env("HF_ENDPOINT", format!("http://{gone}")).output().unwrap();
    let out = away(&format!("inspect {MODEL}"));
    assert!(out.status.success());
    let warned = text(&out.stderr);
    for words in
        ["steep: warning: hf:someone/small-dit: ", "cannot be reached", "the copy in the cache is taken"]
    {
        assert!(warned.contains(words) && warned.lines().count() == 1, "{warned}");
    }
    let nowhere = ["cannot be reached", "has nothing of it", "home/hub", "HF_ENDPOINT"];
    refused(&away("inspect hf:someone/else"), &nowhere);
    // What is meant as a path is told so.
    refused(
        &away("inspect someone/else"),
        &[&["someone/else: no such path is here, and on the hub: "][..], &nowhere].concat(),
    );
    fs::remove_file(world.cached(&format!(
        "snapshots/{COMMIT}/transformer/diffusion_pytorch_model-00002-of-00003.safetensors"
    )))
    .unwrap();
    let lacks = "lacks diffusion_pytorch_model-00002-of-00003.safetensors";
    refused(&away(&format!("inspect {MODEL}")), &[lacks, "cannot be reached"]);

    let offline = |args: &str| world.command(args).env("HF_HUB_OFFLINE", "yes").output().unwrap();
    world.site.asked();
    refused(
        &offline(&format!("inspect {MODEL}")),
        &["HF_HUB_OFFLINE is set", lacks, "without that variable"],
    );
    refused(&offline("inspect hf:someone/else"), &["HF_HUB_OFFLINE is set", "has nothing of it"]);
    refused(&offline(&format!("inspect {MODEL}:x.pt")), &["HF_HUB_OFFLINE is set", "has no x.pt; it has "]);
    assert!(world.site.asked().is_empty());
    // Other places of the cache.
    let elsewhere =
        |args: &str| world.command(args).env("HF_HUB_CACHE", world.place.path("cache")).output().unwrap();
    said(&elsewhere(&format!("inspect {MODEL}")));
    assert!(world.place.path("cache/models--someone--small-dit/refs/main").exists());
}

#[test]
fn what_the_hub_has_not() {
    let world = World::new();
    let at = &world.site.address;
    world.refuses("inspect hf:no/one", &["hf:no/one: ", at, "has no such repository", "OWNER/NAME"]);
    world.refuses(&format!("inspect {MODEL}@v9"), &["has no revision v9", "a branch, a tag or a commit"]);
    world.refuses(&format!("inspect {MODEL}:x.pt"), &["has no x.pt; it has README.md, ", "and 8 more"]);
    world.refuses("generate --model hf:someone", &["model hf:someone: wanted hf:OWNER/NAME"]);
    let broken = |status, code, words: &[&str]| {
        world.site.state().broken = Some((status, code));
        world.refuses(&format!("inspect {MODEL}"), words);
    };
    broken(500, "", &["answers with status 500"]);
    broken(404, "", &["has no such repository, or no revision main of it"]);
    broken(200, "", &["gives a wrong answer: EOF"]);
    world.site.state().broken = None;
    world.site.state().commit = "../../x".into();
    world.refuses(&format!("inspect {MODEL}"), &["\"../../x\" is no commit"]);
    world.site.state().commit = COMMIT.into();
    world.site.state().files.retain(|name, _| ["README.md", "vae/config.json"].contains(&name.as_str()));
    world.refuses(&format!("inspect {MODEL}"), &["has README.md; wanted a safetensors or PyTorch file"]);
    // A file of this name is a path, whether it is there or not.
    world.site.asked();
    world.refuses("inspect someone/x.safetensors", &["No such file"]);
    assert!(world.site.asked().is_empty());
    assert!(!world.place.path("home").exists());
}

#[test]
fn who_has_no_access_is_told_of_tokens() {
    let world = World::new();
    let inspect = format!("inspect {MODEL}");
    let with = |token: &str| world.command(&inspect).env("HF_TOKEN", token).output().unwrap();
    let page = format!("{}/{REPO}", world.site.address);
    world.site.state().private = Some("secret".into());
    world.refuses(&inspect, &["(401)", "gated or private, or there is none of this name", "HF_TOKEN", &page]);
    refused(&with("wrong"), &["the token of HF_TOKEN", "(403)", &page]);
    world.site.state().private = None;
    world.site.state().gated = Some("secret".into());
    world.refuses(
        &inspect,
        &["diffusion_pytorch_model.safetensors.index.json: ", "(401)", "it is gated;", "HF_TOKEN"],
    );
    refused(&with("wrong"), &["the token of HF_TOKEN", "(403)", "it is gated;"]);
    // Nobody is told what the token is.
    for out in [with("wrong"), world.run(&inspect)] {
        assert!(!text(&out.stderr).contains("wrong"), "{}", text(&out.stderr));
    }
    // In the file that `hf auth login` writes.
    fs::create_dir_all(world.place.path("home")).unwrap();
    fs::write(world.place.path("home/token"), "other\n").unwrap();
    world.refuses(&inspect, &["the token of ", "home/token", "(403)"]);
    said(&with("secret"));
    fs::write(world.place.path("home/token"), "secret\n").unwrap();
    fs::remove_dir_all(world.place.path("home/hub")).unwrap();
    world.site.asked();
    world.ok(&inspect);
    for line in world.site.asked().iter().filter(|line| !line.starts_with("/cdn/")) {
        assert!(line.ends_with(" token secret"), "{line}");
    }
}

#[test]
fn a_transfer_goes_on_where_it_broke_off() {
    let world = World::new();
    world.site.state().breaks_off = Some(1000);
    world.ok(&format!("inspect {MODEL}:originals/latte.pt --tensors"));
    let asked = world.site.asked();
    let parts: Vec<&str> =
        asked.iter().filter(|l| l.starts_with("/cdn/")).map(|l| l.rsplit_once(' ').unwrap().1).collect();
    assert_eq!(parts, ["bytes=0-0", "bytes=0-0", "bytes=0-", "bytes=0-0", "bytes=1000-"]);
    let kept = world.cached(&format!("snapshots/{COMMIT}/originals/latte.pt"));
    assert_eq!(fs::read(kept).unwrap(), files()["originals/latte.pt"]);
    // One that was whole, but for its name.
    fs::remove_dir_all(world.cached("snapshots")).unwrap();
    fs::rename(world.cached("blobs/originals-latte-pt"), world.cached("blobs/originals-latte-pt.part"))
        .unwrap();
    world.ok(&format!("inspect {MODEL}:originals/latte.pt --tensors"));
}

/// Ctrl-C in the middle of a file ends the program at once, and what has come is not lost.
#[test]
fn a_download_ends_when_it_is_told_to() {
    let world = World::new();
    world.site.state().stalls = Some(5000);
    let mut command = world.command(&format!("inspect {MODEL}"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let part = world.cached("blobs/transformer-diffusion-pytorch-model-00001-of-00003-safetensors.part");
    let start = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) < 5000 {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    let took = sent.elapsed();
    assert_eq!(complaint(&out, 130), "interrupted");
    assert!(took < Duration::from_secs(3), "{took:?}");
    world.site.state().stalls = None;
    world.site.asked();
    world.ok(&format!("inspect {MODEL}"));
    assert!(world.site.asked().iter().any(|line| line.ends_with("range bytes=5000-")));
}

/// The model's name is the repository's or the file's, and what belongs to it goes to the current folder.
#[test]
fn a_calibration_goes_to_the_current_folder() {
    let world = World::new();
    let short = "--device cpu --steps 8";
    let fitted = world.ok(&format!("calibrate --model {MODEL} {short} --classes 0 --seeds 1"));
    assert!(fitted.contains("small-dit") && fitted.contains("wrote small-dit.teacache.json"), "{fitted}");
    let made = world.ok(&format!("generate --model {MODEL} {short} --cache tea:0.1 --json run.json"));
    assert!(made.contains("small-dit.teacache.json (sha256"), "{made}");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(world.place.path("run.json")).unwrap()).unwrap();
    assert_eq!(record["model"], "small-dit");
    assert_eq!(world.place.names(), ["home", "run.json", "small-dit.teacache.json"]);
    // Of a file it is the file's.
    let latte = format!("{MODEL}:originals/latte.pt");
    let quoted = |verb: &str| {
        let mut command = world.command(&format!("{verb} --model {latte} {short} --quiet"));
        command.args(["--config", r#"{"heads": 2}"#]).output().unwrap()
    };
    said(&quoted("calibrate --classes 0 --seeds 1"));
    assert!(world.place.path("latte.teacache.json").exists());
}

/// `script` (util-linux) runs a command in a terminal of its own.
#[test]
fn a_download_is_drawn() {
    let world = World::new();
    let command = world.command(&format!("inspect {MODEL}"));
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{} inspect {MODEL}", crate::STEEP), "typescript"]).stdin(Stdio::null());
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env("TERM", "xterm")
        .current_dir(world.place.0.path());
    let Ok(out) = script.output() else { return eprintln!("skipped: no `script` here") };
    let drawn = text(&out.stdout);
    for words in ["  config.json (2 of 4)  ", "  ..00003-of-00003.safetensors (3 of 3)  ", "KiB"] {
        assert!(drawn.contains(words), "no {words:?} in {drawn:?}");
    }
}

/// Latents need no decoder, pictures do.
#[test]
fn a_pipelines_decoder_is_downloaded_for_pictures() {
    let world = World::new();
    let draw = format!("generate --model {MODEL} --steps 2 --guidance 1 --quiet");
    world.ok(&format!("{draw} --out latents.safetensors"));
    assert!(!transferred(&world.site.asked()).iter().any(|name| name.starts_with("vae/")));
    world.ok(&format!("{draw} --out one.png"));
    let asked = world.site.asked();
    let mut of_decoder: Vec<&str> =
        transferred(&asked).into_iter().filter(|name| name.starts_with("vae/")).collect();
    of_decoder.sort_unstable();
    let wanted = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"];
    assert_eq!(of_decoder, wanted.map(|name| format!("{name} range bytes=0-")));
    // By its own name, and from the cache.
    let mut decode =
        world.command(&format!("decode latents.safetensors --vae {MODEL}:vae --quiet --out two.png"));
    said(&decode.env("HF_HUB_OFFLINE", "1").output().unwrap());
    let [one, two] = ["one.png", "two.png"].map(|name| fs::read(world.place.path(name)).unwrap());
    assert!(one == two);
}
