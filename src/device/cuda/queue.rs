//! Calls on their way to the stream: one by one, or, where the same calls come again and again as the steps of a run
//! do, as one CUDA graph that is made once and launched for each step.
//!
//! A graph saves the host a launch for every call and the GPU the gaps between them. From step to step only a few
//! arguments change (the step's number, the sampler's update): those nodes are told, the rest stays.
//!
//! Calls in a row that one flag decides on become the body of a conditional node, if the driver's work
//! (`condition.rs`): when they are not wanted, one kernel says so instead of each of them looking for itself. Nodes
//! in a body are never told of other arguments: the documentation of `cuGraphExecKernelNodeSetParams` speaks of the
//! nodes of the graph that was instantiated, and a body is a graph of its own. So where a body must change (another
//! run, with tensors of its own), the graph is made anew, and calls that change from step to step stay outside.

use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::driver::result::DriverError;
use cudarc::driver::{result, sys};

use super::condition::Condition;
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
#[derive(Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
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

    fn gate(&self) -> GateArgument {
        let [.., gate] = self.starts[..] else { unreachable!("every call has one") };
        *bytemuck::from_bytes(bytemuck::cast_slice(&self.arguments[gate..]))
    }
}

type Shape = (usize, [u32; 3]);

/// Calls that are not in the stream yet, and the graphs of those that came before.
#[derive(Default)]
pub(super) struct Queue {
    /// Where it is known, graphs have conditional nodes.
    pub condition: Option<Condition>,
    calls: Vec<Launch>,
    graphs: HashMap<Vec<Shape>, Kept>,
}

/// Calls that came before.
struct Kept {
    /// What they had the last time.
    arguments: Vec<Vec<u64>>,
    /// Which of them came with others than the time before.
    changed: Vec<bool>,
    /// Which did so twice in a row.
    restless: Vec<bool>,
    /// None: seen once.
    graph: Option<Graph>,
}

/// Fewer calls are launched one by one.
pub(super) const WORTH_A_GRAPH: usize = 12;
/// Fewer calls look at the flag for themselves: a conditional node is a kernel and a node more.
pub(super) const WORTH_A_BODY: usize = 4;
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

    /// Lets go of the calls that wait.
    pub fn forget(&mut self) {
        self.calls.clear();
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
        if let Some(kept) = self.graphs.get_mut(&key) {
            return kept.launch(calls, self.condition, stream).map_err(|e| (None, e));
        }
        if self.graphs.len() >= GRAPHS {
            self.graphs.clear();
        }
        one_by_one(&calls, stream)?;
        let still = vec![false; calls.len()];
        let arguments = calls.into_iter().map(|call| call.arguments).collect();
        self.graphs.insert(key, Kept { arguments, changed: still.clone(), restless: still, graph: None });
        Ok(())
    }
}

impl Kept {
    fn launch(
        &mut self,
        calls: Vec<Launch>,
        condition: Option<Condition>,
        stream: sys::CUstream,
    ) -> Result<(), DriverError> {
        for (i, call) in calls.iter().enumerate() {
            let changed = call.arguments != self.arguments[i];
            self.restless[i] |= changed && self.changed[i];
            self.changed[i] = changed;
        }
        let changed = || (0..calls.len()).filter(|&i| self.changed[i]);
        let graph = match self.graph.take() {
            Some(graph) if !changed().any(|i| graph.nodes[i].in_body) => {
                changed().try_for_each(|i| graph.change(i, &calls[i]))?;
                graph
            }
            _ => Graph::new(&calls, &self.restless, condition)?,
        };
        self.arguments = calls.into_iter().map(|call| call.arguments).collect();
        self.graph.insert(graph).launch(stream)
    }
}

fn one_by_one(calls: &[Launch], stream: sys::CUstream) -> Result<(), (Option<&'static str>, DriverError)> {
    calls.iter().try_for_each(|call| call.launch(stream).map_err(|e| (Some(call.function.op), e)))
}

/// Calls, one after the other, as the driver keeps them.
struct Graph {
    raw: sys::CUgraph,
    executable: sys::CUgraphExec,
    /// One for each call.
    nodes: Vec<Node>,
}

struct Node {
    raw: sys::CUgraphNode,
    /// Of a conditional node.
    in_body: bool,
}

impl Graph {
    fn new(calls: &[Launch], restless: &[bool], condition: Option<Condition>) -> Result<Graph, DriverError> {
        let mut graph = Graph { raw: std::ptr::null_mut(), executable: std::ptr::null_mut(), nodes: vec![] };
        // SAFETY: an out-pointer to a field.
        unsafe { sys::cuGraphCreate(&mut graph.raw, 0).result()? };
        let mut chain = Chain { graph: graph.raw, last: None };
        let calls: Vec<_> = calls.iter().zip(restless).collect();
        let together = |a: &(&Launch, &bool), b: &(&Launch, &bool)| !a.1 && !b.1 && a.0.gate() == b.0.gate();
        for group in calls.chunk_by(together) {
            let gate = group[0].0.gate();
            let condition = condition.filter(|_| gate.flag != 0 && group.len() >= WORTH_A_BODY);
            let mut body = condition.map(|c| chain.decide(c, gate, group.len())).transpose()?;
            for (call, _) in group {
                let in_body = body.is_some();
                let raw = body.as_mut().unwrap_or(&mut chain).add(call)?;
                graph.nodes.push(Node { raw, in_body });
            }
        }
        // SAFETY: a graph that was just made.
        graph.executable =
            unsafe { result::graph::instantiate(graph.raw, sys::CUgraphInstantiate_flags(0))? };
        Ok(graph)
    }

    /// Tells a node that its call has other arguments now. Launches that are under way keep theirs.
    fn change(&self, node: usize, call: &Launch) -> Result<(), DriverError> {
        let mut pointers = call.pointers();
        let params = call.node(&mut pointers);
        // SAFETY: the same kernel over the same grid, by the key that this graph was found with.
        unsafe {
            sys::cuGraphExecKernelNodeSetParams_v2(self.executable, self.nodes[node].raw, &params).result()
        }
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

/// Nodes, each after the one before.
struct Chain {
    /// The driver's: of a whole graph, or the body of a conditional node.
    graph: sys::CUgraph,
    last: Option<sys::CUgraphNode>,
}

/// What `kernels/condition.cu` takes.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ConditionParams {
    handle: u64,
    calls: u32,
    padding: u32,
}

impl Chain {
    fn add(&mut self, call: &Launch) -> Result<sys::CUgraphNode, DriverError> {
        let mut pointers = call.pointers();
        let params = call.node(&mut pointers);
        let before = self.last.as_slice();
        let mut node = std::ptr::null_mut();
        // SAFETY: the driver copies parameters and arguments before it returns.
        unsafe {
            sys::cuGraphAddKernelNode_v2(&mut node, self.graph, before.as_ptr(), before.len(), &params)
                .result()?
        };
        self.last = Some(node);
        Ok(node)
    }

    /// A conditional node, for calls with this gate; and its body, which they are to be added to.
    fn decide(
        &mut self,
        condition: Condition,
        gate: GateArgument,
        calls: usize,
    ) -> Result<Chain, DriverError> {
        let mut handle = 0;
        // No default: the kernel before the node sets it each time.
        // SAFETY: an integer to write to.
        unsafe {
            sys::cuGraphConditionalHandleCreate(&mut handle, self.graph, condition.context, 0, 0).result()?
        };
        let params = ConditionParams { handle, calls: calls as u32, padding: 0 };
        let params = bytemuck::bytes_of(&params);
        self.add(&Launch::new(condition.function, [1, 1, 1], std::iter::empty(), params, gate))?;
        // SAFETY: plain numbers and pointers, which may all be zero, and must be where they are not used.
        let mut params: sys::CUgraphNodeParams = unsafe { std::mem::zeroed() };
        params.type_ = sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_CONDITIONAL;
        params.__bindgen_anon_1.conditional = sys::CUDA_CONDITIONAL_NODE_PARAMS {
            handle,
            type_: sys::CUgraphConditionalNodeType::CU_GRAPH_COND_TYPE_IF,
            size: 1,
            phGraph_out: std::ptr::null_mut(),
            ctx: condition.context,
        };
        let before = self.last.as_slice();
        let mut node = std::ptr::null_mut();
        // SAFETY: as in `add`; the driver has filled in one graph, which is the node's.
        let body = unsafe {
            let no_data = std::ptr::null();
            let (after, count) = (before.as_ptr(), before.len());
            sys::cuGraphAddNode_v2(&mut node, self.graph, after, no_data, count, &mut params).result()?;
            *params.__bindgen_anon_1.conditional.phGraph_out
        };
        self.last = Some(node);
        Ok(Chain { graph: body, last: None })
    }
}
