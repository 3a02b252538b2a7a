// out = softmax(q·kᵀ / √h)·v, a query of one head to an invocation, in one pass over the keys
//
// Try it: steep try starter.wgsl
// expect: out: element 0 is NaN
// steep: tile = 1, 1, 64
// steep: dtypes = f32
// Heads are read as vectors of four, so they must be whole ones:
// steep: multiple = 4
// The call's constant HEAD is there without asking.
struct Params { length: u32, stride: u32, inner: u32, outer: u32, heads: u32, head: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> p: Params;

// Vectors of a head.
const C = HEAD / 4u;

@compute @workgroup_size(64)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(global_invocation_id) id: vec3<u32>) {
  if id.x >= p.length { return; }
  // The first token of the sequence; from a token to the next; where this head begins in the first.
  let start = group.z / p.inner * p.outer + group.z % p.inner;
  let dim = p.heads * C;
  let token = p.stride * 3u * dim;
  let at = start * 3u * dim + group.y * C;
  var o: array<vec4<f32>, C>;
  // Yours: the query is at qkv[at + id.x * token + c], key i at qkv[at + i * token + dim + c], its value dim further on; the
  // result goes to out[(start + id.x * p.stride) * dim + group.y * C + c], each for c from 0 to C - 1.
}
