//! Asking the hub for a model, by the crate `hf-hub`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo, Metadata};
use hf_hub::api::{Progress, RepoInfo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use indicatif::ProgressBar;
use steep::model::Source;
use steep::{Error, Result};

use super::{Address, Answer, home, is_commit, is_within, variable};
use crate::cli::{go_on, progress};

/// How long the hub may take to be found, and to answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);
/// How often a file is asked for whose transfer breaks off, and the pause between. It goes on where it was.
const ATTEMPTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(200);

/// Gets what the cache has not yet.
pub fn download(address: &Address, cache: &Path, quiet: bool) -> Result<Answer> {
    match Remote::new(address, cache, quiet).and_then(|remote| remote.fetch()) {
        Ok(path) => Ok(Answer::Path(path)),
        Err(Trouble::Unreachable(why)) => Ok(Answer::None {
            why,
            way_out: "wanted a network, a mirror that HF_ENDPOINT names, or a copy in that cache".into(),
        }),
        Err(Trouble::Other(e)) => Err(e),
    }
}

/// Why there is no file.
enum Trouble {
    /// There is no hub to be reached.
    Unreachable(String),
    /// It refuses, or something else is wrong.
    Other(Error),
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Trouble {
        Trouble::Other(e)
    }
}

/// The hub, as far as one model goes.
struct Remote<'a> {
    address: &'a Address,
    endpoint: String,
    token: Option<Token>,
    cache: Cache,
    api: Api,
    quiet: bool,
}

/// One commit of the repository, there and in the cache.
struct Commit {
    hash: String,
    remote: ApiRepo,
    kept: CacheRepo,
    snapshot: PathBuf,
}

impl<'a> Remote<'a> {
    fn new(address: &'a Address, cache: &Path, quiet: bool) -> Result<Remote<'a>, Trouble> {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let endpoint = endpoint.trim().trim_end_matches('/').to_string();
        let (token, cache) = (Token::find(), Cache::new(cache.into()));
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(endpoint.clone())
            .with_token(token.as_ref().map(|token| token.text.clone()))
            .build()
            .map_err(|e| address.error(e))?;
        Ok(Remote { address, endpoint, token, cache, api, quiet })
    }

    fn fetch(&self) -> Result<PathBuf, Trouble> {
        let address = self.address;
        let info = self.info()?;
        let files = info.siblings.into_iter().map(|file| file.rfilename).filter(|name| is_within(name));
        let wanted = address.wanted(&files.collect::<Vec<_>>()).map_err(|why| address.error(why))?;
        // All of one commit, whatever becomes of the branch meanwhile.
        let kept = self.cache.repo(self.repo(&info.sha));
        let commit = Commit {
            snapshot: kept.pointer_path(&info.sha),
            remote: self.api.repo(self.repo(&info.sha)),
            kept,
            hash: info.sha,
        };
        self.get(&commit, &wanted)?;
        let checkpoint = Path::new(&wanted[0]);
        let shards = Source::shards(&commit.snapshot.join(checkpoint))?;
        let shards = shards.iter().map(|name| checkpoint.with_file_name(name).to_string_lossy().into_owned());
        self.get(&commit, &shards.collect::<Vec<_>>())?;
        if address.revision != commit.hash {
            let kept = self.cache.repo(self.repo(&address.revision)).create_ref(&commit.hash);
            kept.map_err(|e| address.error(format!("the cache {}: {e}", self.cache.path().display())))?;
        }
        Ok(commit.snapshot.join(address.file.as_deref().unwrap_or_default()))
    }

    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.address.repo.clone(), RepoType::Model, revision.into())
    }

    /// Which commit the revision is, and its files.
    fn info(&self) -> Result<RepoInfo, Trouble> {
        let _busy = progress::busy("asking the hub", self.quiet);
        let request = self.api.repo(self.repo(&self.address.revision)).info_request().config();
        let request = request.timeout_resolve(Some(CONNECT)).timeout_connect(Some(CONNECT));
        let request = request.timeout_recv_response(Some(ANSWER)).http_status_as_error(false).build();
        let mut answer = request.call().map_err(|e| self.failure("", &e))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok());
            return Err(self.refusal("", status, code.unwrap_or_default()).into());
        }
        let text = answer.body_mut().read_to_string().map_err(|e| self.failure("", &e))?;
        let info: RepoInfo = serde_json::from_str(&text).map_err(|e| self.strange("", e))?;
        match is_commit(&info.sha) {
            true => Ok(info),
            false => Err(self.strange("", format!("{:?} is no commit", info.sha)).into()),
        }
    }

    /// Downloads those of these files that the cache has not.
    fn get(&self, commit: &Commit, files: &[String]) -> Result<(), Trouble> {
        let missing: Vec<&String> =
            files.iter().filter(|name| !commit.snapshot.join(name).exists()).collect();
        for (i, name) in missing.iter().enumerate() {
            go_on()?;
            let count = match missing.len() {
                1 => String::new(),
                all => format!(" ({} of {all})", i + 1),
            };
            let bar = progress::bytes(&format!("{}{count}", short(name)), self.quiet);
            let got = self.get_one(commit, name, &bar);
            bar.finish_and_clear();
            got?;
        }
        Ok(())
    }

    fn get_one(&self, commit: &Commit, name: &str, bar: &ProgressBar) -> Result<(), Trouble> {
        let about = self.api.metadata(&commit.remote.url(name)).map_err(|e| self.trouble(name, &e))?;
        // They become names of files.
        if about.commit_hash() != commit.hash || !is_word(about.etag()) {
            let why = format!("commit {:?}, etag {:?}", about.commit_hash(), about.etag());
            return Err(self.strange(name, why).into());
        }
        let fail = |e: std::io::Error| self.broken(name, e);
        let (blob, length) = (commit.kept.blob_path(about.etag()), about.size() as u64);
        let has = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        if length > 0 && has(&blob) == length {
            // It is that of another commit, too.
            return link(&blob, &commit.snapshot, name).map_err(|e| fail(e).into());
        }
        let begun = blob.with_extension("part");
        if has(&begun) >= length && begun.exists() {
            fs::remove_file(&begun).map_err(fail)?;
        }
        let path = self.transfer(commit, name, &about, bar)?;
        if has(&path) != length {
            let _ = fs::remove_file(&path).and(fs::remove_file(&blob));
            return Err(self.strange(name, format!("{} bytes of {length}", has(&blob))).into());
        }
        Ok(())
    }

    /// Downloads a file, and goes on with it where the transfer breaks off.
    fn transfer(
        &self,
        commit: &Commit,
        name: &str,
        about: &Metadata,
        bar: &ProgressBar,
    ) -> Result<PathBuf, Trouble> {
        let mut attempt = 1;
        loop {
            match commit.remote.download_with_progress(name, Bar(bar.clone(), about.size())) {
                Ok(path) => return Ok(path),
                Err(e) if attempt < ATTEMPTS && breaks_off(&e) => attempt += 1,
                Err(e) => return Err(self.trouble(name, &e)),
            }
            go_on()?;
            std::thread::sleep(PAUSE);
        }
    }

    fn trouble(&self, name: &str, e: &ApiError) -> Trouble {
        match e {
            ApiError::RequestError(e) => self.failure(name, e),
            ApiError::IoError(e) => self.broken(name, e).into(),
            ApiError::MissingHeader(_) | ApiError::InvalidHeader(_) | ApiError::ParseIntError(_) => {
                self.strange(name, e).into()
            }
            ApiError::LockAcquisition(lock) => {
                let why = format!("another program downloads it ({}); wanted it to be done", lock.display());
                self.error(name, why).into()
            }
            e => self.error(name, e).into(),
        }
    }

    /// A request that came to nothing.
    fn failure(&self, name: &str, e: &ureq::Error) -> Trouble {
        match e {
            ureq::Error::StatusCode(status) => self.refusal(name, *status, "").into(),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                let wanted = "wanted an address such as https://huggingface.co";
                self.error(name, format!("{} is no place to ask ({e}); {wanted}", self.endpoint)).into()
            }
            e => Trouble::Unreachable(format!("{} cannot be reached ({e})", self.endpoint)),
        }
    }

    /// An answer that says no.
    fn refusal(&self, name: &str, status: u16, code: &str) -> Error {
        let (hub, repo, revision) = (&self.endpoint, &self.address.repo, &self.address.revision);
        let exists = !name.is_empty() || code == "GatedRepo";
        let why = match (status, code) {
            (404, "RevisionNotFound") => {
                format!("{hub} has no revision {revision} of it; wanted a branch, a tag or a commit")
            }
            (404, _) if exists => format!("{hub} has no such file"),
            (404, "RepoNotFound") => {
                format!("{hub} has no such repository; wanted OWNER/NAME as its page has it")
            }
            (404, _) => format!("{hub} has no such repository, or no revision {revision} of it"),
            (401 | 403, _) => {
                let who = match &self.token {
                    None => "who shows no token".into(),
                    Some(token) => format!("for the token of {}", token.from),
                };
                let what = if exists {
                    "it is gated"
                } else {
                    "it is gated or private, or there is none of this name"
                };
                let way_out = match &self.token {
                    None => {
                        "wanted HF_TOKEN, or the file that `hf auth login` writes, with a token that has access"
                    }
                    Some(_) => "wanted the token of an account that has access",
                };
                let who = if self.token.is_none() { format!("to those {who}") } else { who };
                format!("{hub} refuses it {who} ({status}): {what}; {way_out}, which {hub}/{repo} grants")
            }
            _ => {
                format!("{hub} answers with status {status}; wanted the hub or a mirror of it, in good order")
            }
        };
        self.error(name, why)
    }

    /// An answer that is not the hub's way to answer.
    fn strange(&self, name: &str, what: impl std::fmt::Display) -> Error {
        let why = format!("{} gives a wrong answer: {what}; wanted the hub or a mirror of it", self.endpoint);
        self.error(name, why)
    }

    /// A file that could not be written, or a transfer that broke off.
    fn broken(&self, name: &str, e: impl std::fmt::Display) -> Error {
        let cache = self.cache.path().display();
        self.error(name, format!("its way from {} into the cache {cache} broke off: {e}", self.endpoint))
    }

    fn error(&self, name: &str, why: impl std::fmt::Display) -> Error {
        match name {
            "" => self.address.error(why),
            name => self.address.error(format!("{name}: {why}")),
        }
    }
}

/// The end of a file's name, as long as there is room for beside a bar.
fn short(name: &str) -> String {
    const LONGEST: usize = 28;
    let name = name.rsplit('/').next().unwrap_or_default();
    match name.chars().count().checked_sub(LONGEST) {
        None | Some(0) => name.into(),
        Some(more) => format!("..{}", name.chars().skip(more + 2).collect::<String>()),
    }
}

/// A name with nothing in it that leads elsewhere.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Whether another attempt may go better.
fn breaks_off(e: &ApiError) -> bool {
    match e {
        ApiError::IoError(e) => {
            use std::io::ErrorKind::*;
            matches!(
                e.kind(),
                ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | TimedOut | Other
            )
        }
        ApiError::RequestError(e) => {
            matches!(**e, ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed)
        }
        _ => false,
    }
}

/// Has a snapshot have what the cache holds already, as the hub's programs do: by a link.
fn link(blob: &Path, snapshot: &Path, name: &str) -> std::io::Result<()> {
    let path = snapshot.join(name);
    fs::create_dir_all(path.parent().unwrap_or(snapshot))?;
    #[cfg(unix)]
    {
        let up = "../".repeat(1 + Path::new(name).components().count());
        let blob = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(blob), path)
    }
    #[cfg(not(unix))]
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, &path).map(drop))
}

/// A bar of a file's bytes. A transfer that goes on begins where it was.
struct Bar(ProgressBar, usize);

impl Progress for Bar {
    fn init(&mut self, _: usize, _: &str) {
        self.0.set_length(self.1 as u64);
        self.0.set_position(0);
    }

    fn update(&mut self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    fn finish(&mut self) {}
}

/// What the hub knows its users by.
struct Token {
    text: String,
    /// Where it was found.
    from: String,
}

impl Token {
    fn find() -> Option<Token> {
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(text) = variable(name) {
                return Some(Token { text: text.trim().into(), from: name.into() });
            }
        }
        let named = variable("HF_TOKEN_PATH").map(PathBuf::from);
        let path = named.or_else(|| Some(home().ok()?.join("token")))?;
        let text = fs::read_to_string(&path).ok().filter(|text| !text.trim().is_empty())?;
        Some(Token { text: text.trim().into(), from: path.display().to_string() })
    }
}
