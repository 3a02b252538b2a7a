//! A small Hugging Face hub on this machine: the paths and headers that `hf-hub` asks for, and what goes wrong there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::json;

/// The only repository.
pub const REPO: &str = "someone/small-dit";
/// The commit that its branch is, unless another is set.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What is there, and how it behaves.
#[derive(Default)]
pub struct State {
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// The list of files is for those who show this token.
    pub private: Option<String>,
    /// Files are.
    pub gated: Option<String>,
    /// Status and code of every answer.
    pub broken: Option<(u16, &'static str)>,
    /// After so many bytes of a file, the first connection ends.
    pub breaks_off: Option<usize>,
    /// After so many bytes of a file, nothing comes any more.
    pub stalls: Option<usize>,
    /// The lines of all requests: method, path, and range and token where there are.
    pub asked: Vec<String>,
}

pub struct Site {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Site {
    /// Serves these files, until the tests end.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { commit: COMMIT.into(), files, ..State::default() }));
        let (of_all, here) = (state.clone(), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, here) = (of_all.clone(), here.clone());
                // Who asks may go away at any time.
                std::thread::spawn(move || drop(serve(stream, &state, &here)));
            }
        });
        Site { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What has been asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16) -> Answer {
        Answer { status, headers: vec![], body: vec![] }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Answer {
        self.headers.push((name, value.to_string()));
        self
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, here: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    let (mut range, mut token) = (None, None);
    for line in lines.by_ref() {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => range = Some(value.to_string()),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                token = value.strip_prefix("Bearer ").map(Into::into)
            }
            Some(_) => {}
            None => break,
        }
    }
    let (answer, length) = {
        let mut state = state.lock().unwrap();
        let mut asked = path.clone();
        for (name, value) in [("range", &range), ("token", &token)] {
            value.iter().for_each(|value| write!(asked, " {name} {value}").unwrap());
        }
        state.asked.push(asked);
        let answer = route(&state, here, &path, range.as_deref(), token.as_deref());
        let length = answer.body.len();
        // A file's beginning is asked for before the file.
        let large = length > 1 && path.starts_with("/cdn/");
        (answer, if large { state.breaks_off.take().or(state.stalls).unwrap_or(length) } else { length })
    };
    send(stream, &answer, length, state)
}

/// Sends so many bytes of the body, although the header says that there are more.
fn send(mut stream: TcpStream, answer: &Answer, length: usize, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} .\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n", answer.body.len()).unwrap();
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body[..length])?;
    stream.flush()?;
    if length < answer.body.len() && state.lock().unwrap().stalls.is_some() {
        // Until the other side has had enough.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let _ = (&mut &stream).read(&mut [0]);
    }
    Ok(())
}

fn route(state: &State, here: &str, path: &str, range: Option<&str>, token: Option<&str>) -> Answer {
    if let Some((status, code)) = state.broken {
        return Answer::new(status).with("X-Error-Code", code);
    }
    // As the hub: who shows nothing is told nothing.
    let refused = |wanted: &Option<String>| match (wanted, token) {
        (Some(wanted), Some(token)) if wanted != token => Some(Answer::new(403)),
        (Some(_), None) => Some(Answer::new(401)),
        _ => None,
    };
    if let Some(revision) = path.strip_prefix(&format!("/api/models/{REPO}/revision/")) {
        let names: Vec<_> = state.files.keys().map(|name| json!({ "rfilename": name })).collect();
        let known = [&state.commit, "main", "refs%2Fpr%2F1"].contains(&revision);
        return refused(&state.private).unwrap_or_else(|| match known {
            true => Answer {
                body: json!({ "id": REPO, "sha": state.commit, "siblings": names }).to_string().into_bytes(),
                ..Answer::new(200).with("Content-Type", "application/json")
            },
            false => Answer::new(404).with("X-Error-Code", "RevisionNotFound"),
        });
    }
    if path.starts_with("/api/") {
        return Answer::new(404).with("X-Error-Code", "RepoNotFound");
    }
    let etag = |name: &str| {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        name.chars().map(word).collect::<String>()
    };
    if let Some(wanted) = path.strip_prefix("/cdn/") {
        let found = state.files.iter().find(|(name, _)| etag(name) == wanted);
        return found.map_or(Answer::new(404), |(_, bytes)| part(Answer::new(206), bytes, range));
    }
    let name = path.strip_prefix(&format!("/{REPO}/resolve/{}/", state.commit)).unwrap_or_default();
    let Some(bytes) = state.files.get(name) else {
        return Answer::new(404).with("X-Error-Code", "EntryNotFound");
    };
    if let Some(no) = refused(&state.gated) {
        return no.with("X-Error-Code", "GatedRepo");
    }
    // Large files are elsewhere.
    let large = bytes.len() > 20_000;
    let answer = Answer::new(if large { 302 } else { 206 }).with("X-Repo-Commit", &state.commit);
    match large {
        true => answer
            .with("X-Linked-ETag", format!("\"{}\"", etag(name)))
            .with("X-Linked-Size", bytes.len())
            .with("Location", format!("{here}/cdn/{}", etag(name))),
        false => part(answer.with("ETag", format!("\"{}\"", etag(name))), bytes, range),
    }
}

/// `bytes=A-` or `bytes=A-B` of a file.
fn part(answer: Answer, bytes: &[u8], range: Option<&str>) -> Answer {
    let (start, end) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')).unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(bytes.len(), |end: usize| end + 1);
    match bytes.get(start..end) {
        Some(part) if !part.is_empty() => {
            let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
            Answer { body: part.into(), ..answer.with("Content-Range", range) }
        }
        _ => Answer::new(416),
    }
}
