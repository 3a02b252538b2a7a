//! NVRTC, NVIDIA's run-time compiler: CUDA C++ in, machine code out. It needs no GPU and no driver.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;

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

/// What became of a [`Unit`].
pub struct Compiled {
    /// Machine code, in the form that the driver loads.
    pub cubin: Vec<u8>,
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
pub(crate) const HEADERS: [(&str, &str); 5] = [
    ("ptx.cuh", include_str!("../../../kernels/ptx.cuh")),
    ("common.cuh", include_str!("../../../kernels/common.cuh")),
    ("linear.cuh", include_str!("../../../kernels/linear.cuh")),
    ("modulate.cuh", include_str!("../../../kernels/modulate.cuh")),
    ("attention.cuh", include_str!("../../../kernels/attention.cuh")),
];

/// Products and sums are fused where a source says so and nowhere else; resources go into the log.
pub(super) const OPTIONS: [&str; 4] =
    ["--std=c++17", "--fmad=false", "-default-device", "--ptxas-options=-v"];

type Program = *mut c_void;

const WHERE: &str = "install the CUDA toolkit (12.0 or later), or the Python package nvidia-cuda-nvrtc \
    and name its libnvrtc in STEEP_NVRTC";

impl Nvrtc {
    /// Loads the library that `STEEP_NVRTC` names; without it, what the system's loader finds, then the usual places.
    pub fn open() -> Result<Nvrtc> {
        let failed = |why: String| Error::device("NVRTC", why);
        let library = match std::env::var_os("STEEP_NVRTC") {
            // SAFETY: whoever names a library vouches for what it does when it is loaded.
            Some(path) => unsafe { Library::new(&path) }
                .map_err(|e| failed(format!("STEEP_NVRTC={}: {e}", PathBuf::from(&path).display())))?,
            None => candidates()
                .into_iter()
                // SAFETY: the library is NVIDIA's, by its name.
                .find_map(|path| unsafe { Library::new(path) }.ok())
                .ok_or_else(|| failed(format!("not found: {WHERE}")))?,
        };
        let mut nvrtc = Nvrtc { library, version: (0, 0) };
        let (mut major, mut minor): (c_int, c_int) = (0, 0);
        // SAFETY: as NVRTC declares it.
        let version =
            unsafe { nvrtc.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>("nvrtcVersion")? };
        // SAFETY: two integers to write to.
        nvrtc.check("nvrtcVersion", unsafe { version(&mut major, &mut minor) })?;
        if major < 12 {
            return Err(failed(format!("this is version {major}.{minor}: {WHERE}")));
        }
        nvrtc.version = (major, minor);
        Ok(nvrtc)
    }

    /// Compiles for `arch`, such as `sm_80` or `sm_90a`. A text that does not compile is an error with the compiler's
    /// first complaint.
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
            Ok(Compiled { cubin: self.bytes(&program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")?, log })
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

/// Where NVRTC may be, newest first.
fn candidates() -> Vec<PathBuf> {
    let (folder, names): (_, &[&str]) = if cfg!(windows) {
        ("bin", &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"])
    } else {
        ("lib64", &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"])
    };
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let folders = [PathBuf::new()]
        .into_iter()
        .chain(toolkits.chain([PathBuf::from("/usr/local/cuda")]).map(|toolkit| toolkit.join(folder)));
    folders.flat_map(|folder| names.iter().map(move |name| folder.join(name))).collect()
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
