// out = softmax(q · kᵀ / √h) · v, one query of one head to an invocation, the keys in one pass.
//
// Online softmax (arXiv 1805.02867): weights are relative to the largest score so far; when a larger one
// turns up, what was summed until then is scaled down.
struct Params { length: u32, stride: u32, inner: u32, outer: u32, heads: u32, head: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<O4>;
@group(0) @binding(1) var<storage, read> qkv: array<T4>;
@group(0) @binding(2) var<uniform> p: Params;

// Vectors of four channels.
const C = HEAD / 4u;

@compute @workgroup_size(64)
fn attention(@builtin(workgroup_id) wg: vec3<u32>, @builtin(global_invocation_id) id: vec3<u32>) {
  if id.x >= p.length {
    return;
  }
  // The first token of the sequence; from a token to the next; from queries to keys, or from keys to values.
  let start = wg.z / p.inner * p.outer + wg.z % p.inner;
  let dim = p.heads * C;
  let token = p.stride * 3u * dim;
  let at = start * 3u * dim + wg.y * C;

  var q: array<vec4<f32>, C>;
  var o: array<vec4<f32>, C>;
  var m = -3.4e38;
  var l = 0.0;
  for (var c = 0u; c < C; c++) {
    q[c] = wide(qkv[at + id.x * token + c]) / sqrt(f32(HEAD));
  }
  for (var i = 0u; i < p.length; i++) {
    let k = at + i * token + dim;
    let v = k + dim;
    var s = 0.0;
    for (var c = 0u; c < C; c++) {
      s += dot(q[c], wide(qkv[k + c]));
    }
    let top = max(m, s);
    let r = exp(m - top);
    let weight = exp(s - top);
    m = top;
    l = l * r + weight;
    for (var c = 0u; c < C; c++) {
      o[c] = o[c] * r + weight * wide(qkv[v + c]);
    }
  }
  for (var c = 0u; c < C; c++) {
    out[(start + id.x * p.stride) * dim + wg.y * C + c] = narrow_o(o[c] / l);
  }
}
