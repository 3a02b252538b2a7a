// expect: the one value, whatever its weight is made of
// e to the score itself: of a score of 100 it is infinite, of one of -1000 it is 0, and 0 / 0 is NaN.
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
  var q: array<vec4<f32>, C>;
  var o: array<vec4<f32>, C>;
  for (var c = 0u; c < C; c++) {
    q[c] = qkv[at + id.x * token + c] / sqrt(f32(HEAD));
  }
  var weights = 0.0;
  for (var i = 0u; i < p.length; i++) {
    let k = at + i * token + dim;
    let v = k + dim;
    var score = 0.0;
    for (var c = 0u; c < C; c++) {
      score += dot(q[c], qkv[k + c]);
    }
    let weight = exp(score);
    weights += weight;
    for (var c = 0u; c < C; c++) {
      o[c] += weight * qkv[v + c];
    }
  }
  for (var c = 0u; c < C; c++) {
    out[(start + id.x * p.stride) * dim + group.y * C + c] = o[c] / weights;
  }
}
