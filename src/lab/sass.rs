//! The main loop of a kernel in NVIDIA's machine code, as `nvdisasm` prints it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use super::counts::{Counts, Kind};
use crate::{Error, Result};

/// NVIDIA's disassembler, found.
pub struct Disassembler(PathBuf);

/// The instructions of a loop.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Loop {
    /// How many there are.
    pub instructions: usize,
    /// How many of each class.
    pub classes: BTreeMap<&'static str, usize>,
}

/// What an instruction's name begins with, and its class. The first that fits counts.
const CLASSES: [(&[&str], &str); 9] = [
    (&["HMMA", "IMMA", "HGMMA"], "tensor"),
    (&["LDS", "STS", "LDSM", "ATOMS"], "shared"),
    (&["LDGSTS"], "copy"),
    (&["LDG", "STG", "LD.", "ST.", "ATOMG", "ATOM.", "RED"], "global"),
    (&["LDL", "STL"], "local"),
    (&["BAR", "SHFL", "VOTE", "DEPBAR", "LDGDEPBAR", "WARPSYNC", "BSYNC", "BSSY", "MATCH"], "synchronise"),
    (&["MUFU"], "special"),
    (&["BRA", "EXIT", "BRX", "CALL", "RET", "NOP", "BREAK"], "control"),
    (&["F", "H", "D"], "float"),
];

fn class(name: &str) -> &'static str {
    // LDGSTS begins as LDG does.
    let copy = name.starts_with("LDGSTS");
    let fits = |(begins, class): &&(&[&str], &'static str)| {
        (!copy || *class == "copy") && begins.iter().any(|begin| name.starts_with(begin))
    };
    CLASSES.iter().find(fits).map_or("integer", |(_, class)| class)
}

impl Disassembler {
    /// The one that `STEEP_NVDISASM` names; else the one beside NVRTC in a Python environment, in a toolkit, or in `PATH`.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn find() -> Result<Disassembler> {
        let works = |path: &PathBuf| {
            Command::new(path).arg("--version").output().is_ok_and(|out| out.status.success())
        };
        let missing = || {
            let way = "install the CUDA toolkit, or the Python package nvidia-cuda-nvdisasm, and name its nvdisasm in \
                       STEEP_NVDISASM";
            Error::device("nvdisasm", format!("not found: {way}"))
        };
        if let Some(named) = std::env::var_os("STEEP_NVDISASM") {
            return Some(PathBuf::from(named)).filter(works).map(Disassembler).ok_or_else(missing);
        }
        let beside = std::env::var_os("STEEP_NVRTC").map(PathBuf::from);
        let beside = beside.and_then(|library| Some(library.parent()?.parent()?.join("bin/nvdisasm")));
        let toolkits = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
        let toolkits = toolkits.chain([PathBuf::from("/usr/local/cuda")]).map(|at| at.join("bin/nvdisasm"));
        let mut all = beside.into_iter().chain(toolkits).chain([PathBuf::from("nvdisasm")]);
        all.find(works).map(Disassembler).ok_or_else(missing)
    }

    /// The main loop of a kernel's machine code; `None` where it has no loop.
    ///
    /// # Errors
    ///
    /// If the disassembler does not take it.
    pub fn main_loop(&self, cubin: &[u8]) -> Result<Option<Loop>> {
        let failed = |why: String| Error::device("nvdisasm", why);
        let name = format!("steep-{}-{:x}.cubin", std::process::id(), cubin.as_ptr() as usize);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, cubin).map_err(|e| Error::file(&path, e))?;
        let out = Command::new(&self.0).arg("-c").arg(&path).output();
        let _ = std::fs::remove_file(&path);
        let out = out.map_err(|e| failed(e.to_string()))?;
        match out.status.success() {
            true => Ok(Loop::main(&String::from_utf8_lossy(&out.stdout))),
            false => Err(failed(String::from_utf8_lossy(&out.stderr).trim().to_string())),
        }
    }
}

impl Loop {
    /// Of a listing: among the loops that have no other within, the one with the most products of tensor cores, and of
    /// those the longest.
    fn main(listing: &str) -> Option<Loop> {
        let mut names: Vec<&str> = vec![];
        let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
        let mut loops: Vec<(usize, usize)> = vec![];
        for line in listing.lines().map(str::trim) {
            if let Some(label) = line.strip_suffix(':').filter(|label| label.starts_with(".L_")) {
                labels.insert(label, names.len());
            }
            let Some((_, rest)) = line.strip_prefix("/*").and_then(|line| line.split_once("*/")) else {
                continue;
            };
            let mut words = rest.split_whitespace().skip_while(|word| word.starts_with('@'));
            let Some(name) = words.next().filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
            else {
                continue;
            };
            names.push(name);
            let target =
                rest.split_once("`(").and_then(|(_, rest)| rest.split_once(')')).map(|(label, _)| label);
            // A jump back. One to itself is the end of the code.
            if name.starts_with("BRA")
                && let Some(&first) = target.and_then(|label| labels.get(label))
                && first + 1 < names.len()
            {
                loops.push((first, names.len()));
            }
        }
        let within = |a: &(usize, usize), b: &(usize, usize)| a != b && a.0 >= b.0 && a.1 <= b.1;
        let inner = loops.iter().filter(|outer| !loops.iter().any(|other| within(other, outer)));
        let of = |&(from, to): &(usize, usize)| {
            let mut classes = BTreeMap::new();
            names[from..to].iter().for_each(|name| *classes.entry(class(name)).or_default() += 1);
            Loop { instructions: to - from, classes }
        };
        inner.map(of).max_by_key(|l| (l.count("tensor"), l.instructions))
    }

    fn count(&self, class: &str) -> usize {
        self.classes.get(class).copied().unwrap_or(0)
    }

    /// Instructions of all warps of a launch in this loop. How often they go through it follows from what both the loop has
    /// and the emulator counts, the surest first; `None` where there is nothing of the kind.
    pub fn issued(&self, counts: &Counts) -> Option<f64> {
        let global = |kind: Kind| kind.is_global();
        let both = [
            ("tensor", counts.count(Kind::Mma)),
            ("special", counts.count(Kind::Special)),
            ("global", counts.sum(global, |row| row.count)),
            ("shared", counts.sum(Kind::is_shared, |row| row.count)),
        ];
        let (each, all) = both
            .into_iter()
            .map(|(class, all)| (self.count(class), all))
            .find(|(each, all)| *each > 0 && *all > 0)?;
        Some(all as f64 / each as f64 * self.instructions as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "
        .global         mine
mine:
.text.mine:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E R2, [R2.64] ;
.L_x_0:
        /*0020*/                   LDGSTS.E.BYPASS.128 [R5], [R6.64] ;
        /*0030*/                   LDSM.16.M88.4 R4, [R9] ;
        /*0040*/                   HMMA.16816.F32.BF16 R4, R4, R8, R4 ;
        /*0050*/                   HFMA2.MMA R7, -RZ, RZ, 0, 2.3e-07 ;
        /*0060*/               @P1 MUFU.EX2 R3, R3 ;
        /*0070*/                   IMAD.WIDE.U32 R2, R4, R3, c[0x0][0x1b8] ;
        /*0080*/              @!P1 BRA `(.L_x_0) ;
        /*0090*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*00a0*/              @!P2 BRA `(.L_x_1) ;
        /*00b0*/                   EXIT ;
.L_x_2:
        /*00c0*/                   BRA `(.L_x_2);
        /*00d0*/                   NOP;
";

    #[test]
    fn the_inner_loop_is_found_and_sorted() {
        let found = Loop::main(LISTING).unwrap();
        let classes = [
            ("control", 1),
            ("copy", 1),
            ("float", 1),
            ("integer", 1),
            ("shared", 1),
            ("special", 1),
            ("tensor", 1),
        ];
        assert_eq!(found, Loop { instructions: 7, classes: BTreeMap::from(classes) });
        assert_eq!(Loop::main("        /*0000*/  EXIT ;\n.L_x_2:\n        /*0010*/  BRA `(.L_x_2);\n"), None);
    }
}
