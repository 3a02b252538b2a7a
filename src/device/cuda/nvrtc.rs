//! NVRTC, NVIDIA's run-time compiler: CUDA C++ in, machine code out. It needs no GPU and no driver.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::{Error, Result};

/// The compiler, found and loaded.
pub struct Nvrtc {
    library: Library,
    /// Such as (13, 0).
    pub version: (i32, i32),
}

/// A source with its macros.
pub struct Unit {
    /// The file's name, for messages.
    pub file: &'static str,
    /// What it says.
    pub text: &'static str,
    /// Macros, as `NAME=VALUE`.
    pub defines: Vec<String>,
}

/// The compute capability of what is compiled for: (9, 0) of `sm_90a` and `compute_90`.
pub fn capability(arch: &str) -> Option<(i32, i32)> {
    let (_, number) = arch.split_once('_')?;
    let number: i32 = number.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse().ok()?;
    Some((number / 10, number % 10))
}

/// What became of a [`Unit`].
pub struct Compiled {
    /// Machine code, or PTX that the driver makes machine code of: both in the form that the driver loads.
    pub code: Vec<u8>,
    /// What the compiler and the assembler said, resources used among it.
    pub log: String,
}

/// What a kernel uses, as the assembler counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Of a thread.
    pub registers: u32,
    /// Bytes of static shared memory.
    pub shared: u32,
    /// Bytes of a thread's stack.
    pub stack: u32,
    /// Bytes that a thread stores because registers ran out.
    pub spills: u32,
}

/// The headers of `kernels/`, which sources include by name.
pub(crate) const HEADERS: [(&str, &str); 8] = [
    ("ptx.cuh", include_str!("../../../kernels/ptx.cuh")),
    ("common.cuh", include_str!("../../../kernels/common.cuh")),
    ("linear.cuh", include_str!("../../../kernels/linear.cuh")),
    ("product.cuh", include_str!("../../../kernels/product.cuh")),
    ("conv2d.cuh", include_str!("../../../kernels/conv2d.cuh")),
    ("modulate.cuh", include_str!("../../../kernels/modulate.cuh")),
    ("pixels.cuh", include_str!("../../../kernels/pixels.cuh")),
    ("attention.cuh", include_str!("../../../kernels/attention.cuh")),
];

/// Products and sums are fused where a source says so and nowhere else; resources go into the log.
pub(super) const OPTIONS: [&str; 4] =
    ["--std=c++17", "--fmad=false", "-default-device", "--ptxas-options=-v"];

type Program = *mut c_void;

/// Major versions that are looked for by name, newest first.
const MAJORS: [i32; 2] = [13, 12];

/// Where to get the compiler whose major version is this.
pub(super) fn source_of(major: i32) -> String {
    let package = if major >= 13 { "nvidia-cuda-nvrtc" } else { "nvidia-cuda-nvrtc-cu12" };
    format!(
        "install the CUDA toolkit {}, or the Python package {package}, and name its libnvrtc in STEEP_NVRTC",
        major.clamp(12, MAJORS[0])
    )
}

impl Nvrtc {
    /// The newest that is found: the library that `STEEP_NVRTC` names; without it, what the system's loader finds, then
    /// the usual places.
    pub fn open() -> Result<Nvrtc> {
        Nvrtc::find(MAJORS[0])
    }

    /// For a driver of this version, as the driver counts: 12080 is 12.8.
    ///
    /// A driver promises to load what a compiler of its own major version makes, or an older one. So those of its own
    /// come first, then older ones, and newer ones last: whether their code runs, only a trial tells.
    pub fn for_driver(version: i32) -> Result<Nvrtc> {
        Nvrtc::find(version / 1000)
    }

    fn find(driver: i32) -> Result<Nvrtc> {
        if let Some(path) = std::env::var_os("STEEP_NVRTC") {
            // SAFETY: whoever names a library vouches for what it does when it is loaded.
            return unsafe { Nvrtc::at(path.as_ref()) }.map_err(|e| e.of("STEEP_NVRTC"));
        }
        // Names without a version come last, and may be any.
        let mut first = None;
        for path in candidates(driver) {
            // SAFETY: the library is NVIDIA's, by its name.
            let Ok(library) = (unsafe { Library::new(path) }) else { continue };
            let Ok(nvrtc) = Nvrtc::of(library) else { continue };
            if nvrtc.version.0 <= driver {
                return Ok(nvrtc);
            }
            first.get_or_insert(nvrtc);
        }
        first.ok_or_else(|| Error::device("NVRTC", format!("not found: {}", source_of(driver))))
    }

    /// The library at this place.
    ///
    /// # Errors
    ///
    /// If there is none, or none of version 12 or later.
    ///
    /// # Safety
    ///
    /// Whoever names a library vouches for what it does when it is loaded.
    pub unsafe fn at(path: &Path) -> Result<Nvrtc> {
        // SAFETY: by the caller's promise.
        let library = unsafe { Library::new(path) };
        Nvrtc::of(library.map_err(|e| Error::device("NVRTC", format!("{}: {e}", path.display())))?)
    }

    fn of(library: Library) -> Result<Nvrtc> {
        let failed = |why: String| Error::device("NVRTC", why);
        let mut nvrtc = Nvrtc { library, version: (0, 0) };
        let (mut major, mut minor): (c_int, c_int) = (0, 0);
        // SAFETY: as NVRTC declares it.
        let version =
            unsafe { nvrtc.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>("nvrtcVersion")? };
        // SAFETY: two integers to write to.
        nvrtc.check("nvrtcVersion", unsafe { version(&mut major, &mut minor) })?;
        if major < 12 {
            return Err(failed(format!("this is version {major}.{minor}: {}", source_of(MAJORS[0]))));
        }
        nvrtc.version = (major, minor);
        Ok(nvrtc)
    }

    /// What to compile for, for a GPU of this compute capability: machine code (`sm_90a`) where the compiler knows the
    /// GPU, with all that is particular to it where that is a name of its own. Else PTX for the newest GPU before it that
    /// the compiler knows (`compute_90`), of which the driver makes machine code.
    ///
    /// # Errors
    ///
    /// If the compiler knows only newer ones.
    pub fn target(&self, (major, minor): (i32, i32)) -> Result<String> {
        let known = self.architectures()?;
        let wanted = 10 * major + minor;
        if known.contains(&wanted) {
            return Ok(format!("sm_{wanted}{}", if major >= 9 { "a" } else { "" }));
        }
        let older = known.iter().filter(|&&arch| arch < wanted).max();
        let (newer, version) = (known.iter().min(), self.version);
        older.map(|arch| format!("compute_{arch}")).ok_or_else(|| {
            let why = format!(
                "version {}.{} makes code for compute capability {} and later: this GPU has {major}.{minor}; {}",
                version.0,
                version.1,
                newer.map_or("none".into(), |arch| format!("{}.{}", arch / 10, arch % 10)),
                source_of(version.0 - 1)
            );
            Error::device("NVRTC", why)
        })
    }

    /// Of the GPUs that it makes machine code for: 90 is compute capability 9.0.
    ///
    /// # Errors
    ///
    /// If the library is none of NVRTC's.
    pub fn architectures(&self) -> Result<Vec<i32>> {
        let mut count: c_int = 0;
        // SAFETY: as NVRTC declares them; the list has the length that it asks for.
        unsafe {
            let number =
                self.get::<unsafe extern "C" fn(*mut c_int) -> c_int>("nvrtcGetNumSupportedArchs")?;
            self.check("nvrtcGetNumSupportedArchs", number(&mut count))?;
            let mut all: Vec<c_int> = vec![0; count.max(0) as usize];
            let list = self.get::<unsafe extern "C" fn(*mut c_int) -> c_int>("nvrtcGetSupportedArchs")?;
            self.check("nvrtcGetSupportedArchs", list(all.as_mut_ptr()))?;
            Ok(all)
        }
    }

    /// Compiles to machine code for `arch`, such as `sm_80` or `sm_90a`, or to PTX for one such as `compute_80`. A text
    /// that does not compile is an error with the compiler's first complaint.
    pub fn compile(&self, unit: &Unit, arch: &str) -> Result<Compiled> {
        let texts: Vec<CString> = HEADERS.iter().map(|(_, text)| c_string(text)).collect();
        let names: Vec<CString> = HEADERS.iter().map(|(name, _)| c_string(name)).collect();
        let options: Vec<CString> = [format!("--gpu-architecture={arch}")]
            .into_iter()
            .chain(OPTIONS.map(String::from))
            .chain(unit.defines.iter().map(|define| format!("-D{define}")))
            .map(|option| c_string(&option))
            .collect();
        let (texts, names, options) = (pointers(&texts), pointers(&names), pointers(&options));
        let (text, file) = (c_string(unit.text), c_string(unit.file));
        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: as NVRTC declares them; every string ends with a zero and outlives the calls.
        unsafe {
            let create = self.get::<Create>("nvrtcCreateProgram")?;
            let count = HEADERS.len() as c_int;
            let status =
                create(&mut program, text.as_ptr(), file.as_ptr(), count, texts.as_ptr(), names.as_ptr());
            self.check("nvrtcCreateProgram", status)?;
            let program = Owned { program, nvrtc: self };
            let status = self.get::<Compile>("nvrtcCompileProgram")?(
                program.program,
                options.len() as c_int,
                options.as_ptr(),
            );
            let log = self.bytes(&program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?;
            let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_string();
            if status != 0 {
                let complaint = log.lines().find(|line| line.contains("error")).unwrap_or(&log);
                let complaint = if complaint.is_empty() { self.words(status) } else { complaint.to_string() };
                return Err(Error::device("NVRTC", format!("{} for {arch}: {complaint}", unit.file)));
            }
            let code = match arch.starts_with("compute_") {
                true => self.bytes(&program, "nvrtcGetPTXSize", "nvrtcGetPTX")?,
                false => self.bytes(&program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")?,
            };
            Ok(Compiled { code, log })
        }
    }

    /// What a pair of functions, one for the size and one for the bytes, has to say about a program.
    fn bytes(&self, program: &Owned<'_>, size: &str, get: &str) -> Result<Vec<u8>> {
        let mut n = 0usize;
        // SAFETY: as NVRTC declares them; the buffer has the size it asks for.
        unsafe {
            let status = self.get::<unsafe extern "C" fn(Program, *mut usize) -> c_int>(size)?(
                program.program,
                &mut n,
            );
            self.check(size, status)?;
            let mut bytes = vec![0u8; n];
            let status = self.get::<unsafe extern "C" fn(Program, *mut u8) -> c_int>(get)?(
                program.program,
                bytes.as_mut_ptr(),
            );
            self.check(get, status)?;
            Ok(bytes)
        }
    }

    /// # Safety
    /// `F` must be the type that NVRTC gives the function.
    unsafe fn get<F: Copy>(&self, name: &str) -> Result<F> {
        // SAFETY: by the caller's promise.
        let symbol = unsafe { self.library.get::<F>(name.as_bytes()) };
        symbol.map(|f| *f).map_err(|e| Error::device("NVRTC", e))
    }

    fn check(&self, what: &str, status: c_int) -> Result<()> {
        match status {
            0 => Ok(()),
            status => Err(Error::device("NVRTC", format!("{what}: {}", self.words(status)))),
        }
    }

    fn words(&self, status: c_int) -> String {
        // SAFETY: as NVRTC declares it; the string it returns is static.
        unsafe {
            match self.get::<unsafe extern "C" fn(c_int) -> *const c_char>("nvrtcGetErrorString") {
                Ok(words) => CStr::from_ptr(words(status)).to_string_lossy().into_owned(),
                Err(_) => format!("status {status}"),
            }
        }
    }
}

struct Owned<'n> {
    program: Program,
    nvrtc: &'n Nvrtc,
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: as NVRTC declares it, on a program that it made.
        unsafe {
            if let Ok(destroy) =
                self.nvrtc.get::<unsafe extern "C" fn(*mut Program) -> c_int>("nvrtcDestroyProgram")
            {
                destroy(&mut self.program);
            }
        }
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("sources and options have no zero bytes")
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).collect()
}

/// Where NVRTC may be: of the driver's major version, then of older ones, then of newer ones.
fn candidates(driver: i32) -> Vec<PathBuf> {
    let mut majors = MAJORS;
    majors.sort_by_key(|&major| (major > driver, driver.abs_diff(major)));
    let folder = if cfg!(windows) { "bin" } else { "lib64" };
    let name = |major: i32| match cfg!(windows) {
        true => format!("nvrtc64_{major}0_0.dll"),
        false => format!("libnvrtc.so.{major}"),
    };
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let toolkits = toolkits.chain([PathBuf::from("/usr/local/cuda")]).map(|toolkit| toolkit.join(folder));
    let folders: Vec<PathBuf> = [PathBuf::new()].into_iter().chain(toolkits).collect();
    let names = majors.map(name).into_iter().chain((!cfg!(windows)).then(|| "libnvrtc.so".to_string()));
    names.flat_map(|name| folders.iter().map(move |folder| folder.join(&name)).collect::<Vec<_>>()).collect()
}

impl Compiled {
    /// What the assembler counted, if the log says it.
    pub fn usage(&self) -> Option<Usage> {
        let number = |before: &str, after: &str| {
            let end = self.log.find(after)?;
            let start = if before.is_empty() { 0 } else { self.log[..end].rfind(before)? + before.len() };
            self.log[start..end].split_whitespace().last()?.parse().ok()
        };
        Some(Usage {
            registers: number("Used", " registers")?,
            shared: number("", " bytes smem").unwrap_or(0),
            stack: number("", " bytes stack frame")?,
            spills: number("", " bytes spill stores")?,
        })
    }

    /// Lines of the log in which the compiler warns.
    pub fn warnings(&self) -> Vec<&str> {
        self.log.lines().filter(|line| line.to_lowercase().contains("warning")).collect()
    }
}
