//! Models by their names on the Hugging Face hub: what a name means, and what the hub's usual cache has of it.

#[cfg(feature = "hub")]
mod remote;

use std::path::{Component, Path, PathBuf};

use steep::model::Source;
use steep::{Error, Result};

/// What there is besides paths.
pub const FORM: &str = "hf:OWNER/NAME, and if need be @REVISION and :FILE behind it";

/// Opens what `--model` names: a path, or a model of the hub, which is downloaded unless the cache has it.
pub fn open(model: &Path, quiet: bool) -> Result<Source> {
    match Address::of(model)? {
        None => Source::open(model),
        Some(address) => Ok(Source::open(address.fetch(quiet)?)?.cached_as(address.name())),
    }
}

/// The path that a name leads to, of a file or a folder: itself, or where the hub's cache has it.
pub fn path(name: &Path, quiet: bool) -> Result<PathBuf> {
    match Address::of(name)? {
        None => Ok(name.into()),
        Some(address) => address.fetch(quiet),
    }
}

/// The folder `part` of a model's repository on the hub, where `--model` names one; None where it names something else.
pub fn part(model: &Path, part: &str, quiet: bool) -> Result<Option<PathBuf>> {
    match Address::of(model)? {
        Some(address) if address.file.is_none() => {
            let said = format!("{}:{part}", address.said);
            Address { file: Some(part.into()), said, ..address }.fetch(quiet).map(Some)
        }
        _ => Ok(None),
    }
}

/// `hf:OWNER/NAME[@REVISION][:FILE]`, or without `hf:` where no such path is here.
#[derive(Debug, PartialEq)]
struct Address {
    /// As it was asked for.
    said: String,
    /// OWNER/NAME.
    repo: String,
    /// A branch, a tag or a commit.
    revision: String,
    /// One of its files or folders.
    file: Option<String>,
}

impl Address {
    /// None for a path.
    fn of(model: &Path) -> Result<Option<Address>> {
        let Some(text) = model.to_str() else { return Ok(None) };
        if let Some(name) = text.strip_prefix("hf:") {
            let wrong = || Error::setting(format!("model {text}"), FORM);
            return Address::parse(text, name).ok_or_else(wrong).map(Some);
        }
        // A folder that is here, and a file's ending, say that a path is meant, if a wrong one.
        let near = model.components().next().is_some_and(|first| Path::new(&first).exists());
        let endings = ["safetensors", "json", "bin", "pt", "pth", "ckpt"];
        let address = Address::parse(text, text).filter(|address| {
            let ending = Path::new(&address.repo).extension().unwrap_or_default();
            !near && endings.iter().all(|known| !ending.eq_ignore_ascii_case(known))
        });
        Ok(address)
    }

    fn parse(said: &str, name: &str) -> Option<Address> {
        let (name, file) = name.split_once(':').map_or((name, None), |(name, file)| (name, Some(file)));
        let (repo, revision) = name.split_once('@').unwrap_or((name, "main"));
        let (owner, own) = repo.split_once('/')?;
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let fits = [owner, own].into_iter().all(word) && revision.split('/').all(word);
        (fits && file.is_none_or(is_within)).then(|| Address {
            said: said.into(),
            repo: repo.into(),
            revision: revision.into(),
            file: file.map(Into::into),
        })
    }

    /// What the model is called: its file's name without the ending, or else the repository's.
    fn name(&self) -> String {
        match &self.file {
            Some(file) => Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            None => self.repo.split('/').next_back().unwrap_or_default().into(),
        }
    }

    fn error(&self, why: impl std::fmt::Display) -> Error {
        let no_path =
            if self.said.starts_with("hf:") { "" } else { "no such path is here, and on the hub: " };
        Error::file(&self.said, format!("{no_path}{why}"))
    }

    /// Where the model is in the cache, once it is there.
    fn fetch(&self, quiet: bool) -> Result<PathBuf> {
        let cache = cache().map_err(|why| self.error(why))?;
        let kept = Kept::new(self, &cache);
        let whole = kept.whole(self);
        match &whole {
            // What is of a commit stays as it is.
            Ok(path) if kept.commit.as_ref() == Some(&self.revision) => return Ok(path.clone()),
            _ => {}
        }
        let answer = match offline() {
            true => Answer::None {
                why: "HF_HUB_OFFLINE is set".into(),
                way_out: "without that variable it is downloaded".into(),
            },
            false => download(self, &cache, quiet)?,
        };
        match (answer, whole) {
            (Answer::Path(path), _) => Ok(path),
            (Answer::None { why, way_out }, Err(lack)) => {
                Err(self.error(format!("{why}, and {lack}; {way_out}")))
            }
            (Answer::None { why, .. }, Ok(path)) => {
                if !offline() {
                    super::complain(&format!(
                        "warning: {}: {why}; the copy in the cache is taken",
                        self.said
                    ));
                }
                Ok(path)
            }
        }
    }

    /// Which of a repository's files are read, the checkpoint first; those that an index names come on top. The files of
    /// a decoder, in `vae/`, would be more of them. The error is what there is instead.
    fn wanted(&self, files: &[String]) -> Result<Vec<String>, String> {
        let Some(file) = &self.file else { return self.needed(files) };
        if files.contains(file) {
            let config = Path::new(file).with_file_name("config.json").to_string_lossy().into_owned();
            let config = Some(config).filter(|config| config != file && files.contains(config));
            return Ok([file.clone()].into_iter().chain(config).collect());
        }
        let folder = format!("{}/", file.trim_end_matches('/'));
        let within: Vec<String> =
            files.iter().filter_map(|name| name.strip_prefix(&folder)).map(Into::into).collect();
        match within[..] {
            [] => Err(format!("has no {file}; it has {}", some(files))),
            _ => Ok(self.needed(&within)?.iter().map(|name| format!("{folder}{name}")).collect()),
        }
    }

    fn needed(&self, files: &[String]) -> Result<Vec<String>, String> {
        Source::needed(files).map_err(|why| format!("{why} (hf:{}:FILE names a file)", self.repo))
    }
}

/// What comes of asking the hub.
enum Answer {
    /// What is to be opened, in the cache.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    Path(PathBuf),
    /// Nothing: why it cannot be asked, and what would do.
    None { why: String, way_out: String },
}

#[cfg(feature = "hub")]
use remote::download;

/// Without its feature, the program has no way to the hub.
#[cfg(not(feature = "hub"))]
fn download(_: &Address, _: &Path, _: bool) -> Result<Answer> {
    Ok(Answer::None {
        why: "this program was built without the feature `hub`, which downloads".into(),
        way_out: "wanted that feature, or another program that gets it there".into(),
    })
}

/// What a cache has of a model.
struct Kept {
    cache: PathBuf,
    /// The commit that the revision is, as far as the cache knows.
    commit: Option<String>,
    /// The folder of that commit's files.
    snapshot: PathBuf,
}

impl Kept {
    fn new(address: &Address, cache: &Path) -> Kept {
        let folder = cache.join(format!("models--{}", address.repo.replace('/', "--")));
        let known = std::fs::read_to_string(folder.join("refs").join(&address.revision)).ok();
        let known = known.map(|commit| commit.trim().to_string()).filter(|commit| is_commit(commit));
        let commit = known.or_else(|| Some(address.revision.clone()).filter(|name| is_commit(name)));
        let snapshot = folder.join("snapshots").join(commit.as_deref().unwrap_or("none"));
        Kept { cache: cache.into(), commit, snapshot }
    }

    /// The path to open, if all that is read is there. The error says what is not.
    fn whole(&self, address: &Address) -> Result<PathBuf, String> {
        let mut files = vec![];
        list(&self.snapshot, "", &mut files);
        let cache = self.cache.display();
        if files.is_empty() {
            return Err(format!("the cache {cache} has nothing of it"));
        }
        let lacks = |what: String| format!("what the cache {cache} has of it {what}");
        let wanted = address.wanted(&files).map_err(lacks)?;
        let checkpoint = self.snapshot.join(&wanted[0]);
        let shards = Source::shards(&checkpoint).map_err(|e| lacks(format!("is wrong: {e}")))?;
        match shards.into_iter().find(|shard| !checkpoint.with_file_name(shard).exists()) {
            Some(shard) => Err(lacks(format!("lacks {shard}"))),
            None => Ok(self.snapshot.join(address.file.as_deref().unwrap_or_default())),
        }
    }
}

/// The files below a folder, `/` between. Links to what is not there are none.
fn list(folder: &Path, before: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        match std::fs::metadata(entry.path()) {
            Ok(kind) if kind.is_dir() => list(&entry.path(), &format!("{name}/"), files),
            Ok(_) => files.push(name),
            Err(_) => {}
        }
    }
}

/// Whether a path stays in the folder that it begins in.
fn is_within(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// The name of a commit is its hash.
fn is_commit(name: &str) -> bool {
    name.len() == 40 && name.chars().all(|c| c.is_ascii_hexdigit())
}

/// The first few of a list of files.
fn some(files: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = files.iter().take(SHOWN).map(String::as_str).collect();
    match files.len().saturating_sub(SHOWN) {
        0 if files.is_empty() => "nothing".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The folder that the hub's programs share, or why there is none.
fn home() -> Result<PathBuf, String> {
    let none = "there is no home folder for the hub's cache; HF_HOME says where else it is";
    let cache = || {
        variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cache")))
    };
    let home = variable("HF_HOME").map(PathBuf::from).or_else(|| Some(cache()?.join("huggingface")));
    home.ok_or_else(|| none.into())
}

/// The hub's cache.
fn cache() -> Result<PathBuf, String> {
    match variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")) {
        Some(named) => Ok(named.into()),
        None => Ok(home()?.join("hub")),
    }
}

/// Whether the user forbids to ask the hub.
fn offline() -> bool {
    let yes =
        |value: String| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str());
    variable("HF_HUB_OFFLINE").is_some_and(yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<[String; 3]> {
        let Address { repo, revision, file, .. } = Address::of(Path::new(text)).unwrap()?;
        Some([repo, revision, file.unwrap_or_default()])
    }

    #[test]
    fn names_are_told_from_paths() {
        for (text, wanted) in [
            ("hf:a/b", ["a/b", "main", ""]),
            ("hf:facebook/DiT-XL-2-256@v1.0", ["facebook/DiT-XL-2-256", "v1.0", ""]),
            ("hf:a/b@refs/pr/3:x/y.pt", ["a/b", "refs/pr/3", "x/y.pt"]),
            ("hf:a/b:ucf101.pt", ["a/b", "main", "ucf101.pt"]),
            ("a/b", ["a/b", "main", ""]),
            ("a/b@main:c.safetensors", ["a/b", "main", "c.safetensors"]),
            ("hf:models/x.safetensors", ["models/x.safetensors", "main", ""]),
        ] {
            assert_eq!(parts(text), Some(wanted.map(Into::into)), "{text}");
        }
        // `src` is here.
        for path in
            ["model.safetensors", "a/b/c", "src/b", "./a", "../a", "/a/b", "a/b.safetensors", "a/", "~/a"]
        {
            assert_eq!(parts(path), None, "{path}");
        }
        for wrong in [
            "hf:",
            "hf:a",
            "hf:a/b/c",
            "hf:a/b@",
            "hf:a/b:",
            "hf:a/b:../c",
            "hf:a/b:/c",
            "hf:a/b@../c",
            "hf:-a/b",
        ] {
            let said = Address::of(Path::new(wrong)).unwrap_err().to_string();
            assert!(said.contains(wrong) && said.contains(FORM), "{said}");
        }
    }

    #[test]
    fn no_more_is_wanted_than_is_read() {
        let files: Vec<String> = [
            "README.md",
            "a/b.pt",
            "a/config.json",
            "model_index.json",
            "scheduler/scheduler_config.json",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.bin",
            "transformer/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ]
        .map(Into::into)
        .into();
        let wanted = |text: &str| Address::of(Path::new(text)).unwrap().unwrap().wanted(&files);
        let model = ["transformer/diffusion_pytorch_model.safetensors", "transformer/config.json"];
        let pipeline = [&model[..], &["scheduler/scheduler_config.json", "model_index.json"]].concat();
        assert_eq!(wanted("hf:a/b").unwrap(), pipeline);
        assert_eq!(wanted("hf:a/b:transformer").unwrap(), model);
        assert_eq!(wanted("hf:a/b:a/b.pt").unwrap(), ["a/b.pt", "a/config.json"]);
        let said = wanted("hf:a/b:c.pt").unwrap_err();
        assert_eq!(said, "has no c.pt; it has README.md, a/b.pt, a/config.json, model_index.json and 5 more");
    }
}
