//! Calls on their way to the stream: one by one, or, where the same calls come again and again as the steps of a run
//! do, as one CUDA graph that is made once and launched for each step.
//!
//! A graph saves the host a launch for every call and the GPU the gaps between them. From step to step only a few
//! arguments change (the step's number, the sampler's update): those nodes are told, the rest stays.

use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::driver::result::DriverError;
use cudarc::driver::{result, sys};

use super::modules::Function;

/// A call with its arguments, ready to go.
pub(super) struct Launch {
    pub function: Function,
    pub grid: [u32; 3],
    /// Pointers to the tensors, the op's parameters and the gate, each at a multiple of eight bytes.
    pub arguments: Vec<u64>,
    /// Where each argument begins.
    pub starts: Vec<usize>,
}

/// The last argument of every kernel; `Gate` in `kernels/common.cuh`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct GateArgument {
    pub flag: u64,
    pub tally: u64,
    pub want: u32,
    pub padding: u32,
}

impl Launch {
    pub fn new(
        function: Function,
        grid: [u32; 3],
        tensors: impl Iterator<Item = u64>,
        params: &[u8],
        gate: GateArgument,
    ) -> Launch {
        let mut arguments: Vec<u64> = tensors.collect();
        let mut starts: Vec<usize> = (0..arguments.len()).collect();
        for bytes in [params, bytemuck::bytes_of(&gate)] {
            starts.push(arguments.len());
            arguments.extend(bytes.chunks(8).map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_ne_bytes(word)
            }));
        }
        Launch { function, grid, arguments, starts }
    }

    fn pointers(&self) -> Vec<*mut c_void> {
        self.starts.iter().map(|&at| std::ptr::from_ref(&self.arguments[at]).cast_mut().cast()).collect()
    }

    fn launch(&self, stream: sys::CUstream) -> Result<(), DriverError> {
        let [x, y, z] = self.grid;
        let block = (self.function.threads, 1, 1);
        let mut pointers = self.pointers();
        // SAFETY: the arguments are those of the kernel's signature, by the ops' contract with their kernels; tensors
        // live at least until the stream gets there, since only the stream's own order reuses their memory.
        unsafe {
            result::launch_kernel(
                self.function.raw,
                (x, y, z),
                block,
                self.function.shared,
                stream,
                &mut pointers,
            )
        }
    }

    fn node(&self, pointers: &mut [*mut c_void]) -> sys::CUDA_KERNEL_NODE_PARAMS {
        sys::CUDA_KERNEL_NODE_PARAMS {
            func: self.function.raw,
            gridDimX: self.grid[0],
            gridDimY: self.grid[1],
            gridDimZ: self.grid[2],
            blockDimX: self.function.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: self.function.shared,
            kernelParams: pointers.as_mut_ptr(),
            extra: std::ptr::null_mut(),
            kern: std::ptr::null_mut(),
            ctx: std::ptr::null_mut(),
        }
    }

    /// What a graph cannot change: which kernel, over which grid.
    fn shape(&self) -> Shape {
        (self.function.raw as usize, self.grid)
    }
}

type Shape = (usize, [u32; 3]);

/// Calls that are not in the stream yet, and the graphs of those that came before.
#[derive(Default)]
pub(super) struct Queue {
    calls: Vec<Launch>,
    /// None: seen once.
    graphs: HashMap<Vec<Shape>, Option<Graph>>,
}

/// Fewer calls are launched one by one.
const WORTH_A_GRAPH: usize = 12;
/// More calls than this do not wait for company.
const MOST: usize = 4096;
/// Graphs that are kept.
const GRAPHS: usize = 32;

impl Queue {
    /// Adds a call. True: it is time to flush.
    pub fn push(&mut self, call: Launch) -> bool {
        self.calls.push(call);
        self.calls.len() >= MOST
    }

    /// The ops of the calls that wait.
    pub fn ops(&self) -> impl Iterator<Item = &'static str> {
        self.calls.iter().map(|call| call.function.op)
    }

    /// Everything into the stream. An error comes with the op that it belongs to, if it is one's.
    pub fn flush(&mut self, stream: sys::CUstream) -> Result<(), (Option<&'static str>, DriverError)> {
        let calls = std::mem::take(&mut self.calls);
        if calls.len() < WORTH_A_GRAPH {
            return one_by_one(&calls, stream);
        }
        let key: Vec<Shape> = calls.iter().map(Launch::shape).collect();
        match self.graphs.get_mut(&key) {
            Some(Some(graph)) => {
                graph.change(&calls).map_err(|e| (None, e))?;
                graph.launch(stream).map_err(|e| (None, e))
            }
            Some(none) => {
                let graph = none.insert(Graph::new(calls).map_err(|e| (None, e))?);
                graph.launch(stream).map_err(|e| (None, e))
            }
            None => {
                if self.graphs.len() >= GRAPHS {
                    self.graphs.clear();
                }
                self.graphs.insert(key, None);
                one_by_one(&calls, stream)
            }
        }
    }
}

fn one_by_one(calls: &[Launch], stream: sys::CUstream) -> Result<(), (Option<&'static str>, DriverError)> {
    calls.iter().try_for_each(|call| call.launch(stream).map_err(|e| (Some(call.function.op), e)))
}

/// Calls, one after the other, as the driver keeps them.
struct Graph {
    raw: sys::CUgraph,
    executable: sys::CUgraphExec,
    nodes: Vec<sys::CUgraphNode>,
    /// The arguments that the executable has now.
    arguments: Vec<Vec<u64>>,
}

impl Graph {
    fn new(calls: Vec<Launch>) -> Result<Graph, DriverError> {
        let mut graph = Graph {
            raw: std::ptr::null_mut(),
            executable: std::ptr::null_mut(),
            nodes: vec![],
            arguments: vec![],
        };
        // SAFETY: out-pointers to fields; the driver copies parameters and arguments before it returns.
        unsafe {
            sys::cuGraphCreate(&mut graph.raw, 0).result()?;
            for call in calls {
                let mut pointers = call.pointers();
                let node = call.node(&mut pointers);
                let mut raw = std::ptr::null_mut();
                let before = graph.nodes.last().map_or(&[][..], std::slice::from_ref);
                sys::cuGraphAddKernelNode_v2(&mut raw, graph.raw, before.as_ptr(), before.len(), &node)
                    .result()?;
                graph.nodes.push(raw);
                graph.arguments.push(call.arguments);
            }
            graph.executable = result::graph::instantiate(graph.raw, sys::CUgraphInstantiate_flags(0))?;
        }
        Ok(graph)
    }

    /// Tells the nodes whose arguments are others now. Launches that are under way keep theirs.
    fn change(&mut self, calls: &[Launch]) -> Result<(), DriverError> {
        for ((call, &node), arguments) in calls.iter().zip(&self.nodes).zip(&mut self.arguments) {
            if call.arguments != *arguments {
                let mut pointers = call.pointers();
                let params = call.node(&mut pointers);
                // SAFETY: the same kernel over the same grid, by the key that this graph was found with.
                unsafe { sys::cuGraphExecKernelNodeSetParams_v2(self.executable, node, &params).result()? };
                arguments.clone_from(&call.arguments);
            }
        }
        Ok(())
    }

    fn launch(&self, stream: sys::CUstream) -> Result<(), DriverError> {
        // SAFETY: both are valid; the arguments are as in `Launch::launch`.
        unsafe { result::graph::launch(self.executable, stream) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made in `new`, where it went that far; the driver waits for a launch that is under way.
        unsafe {
            if !self.executable.is_null() {
                let _ = result::graph::exec_destroy(self.executable);
            }
            if !self.raw.is_null() {
                let _ = result::graph::destroy(self.raw);
            }
        }
    }
}
