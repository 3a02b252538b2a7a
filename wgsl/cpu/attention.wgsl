// out = softmax(q · kᵀ / √h) · v for software adapters. A workgroup is one subgroup, an invocation
// is a lane of the vector registers.
//
// There a multiply-add of the subgroup is one instruction, and so is handing one lane's number to all. But a
// vec4 takes as long to load as a hundred of them, for every lane loads on its own. Hence
//
//   lanes are queries, Q to a lane; q and o are in registers, or rather in the first-level cache
//   of the keys and values, lanes load a row each; every number that one loads serves Q·LANES queries
//
// Loops over arrays have constant bounds: unrolled, the arrays are registers, else every access is a gather.
struct Params { length: u32, stride: u32, inner: u32, outer: u32, heads: u32, head: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<O4>;
@group(0) @binding(1) var<storage, read> qkv: array<T4>;
@group(0) @binding(2) var<uniform> p: Params;

// Queries at a time: more make the loads count less. But there must be as many, and what is unrolled for long heads
// takes the driver seconds to compile.
const MOST = select(select(32u, 16u, HEAD > 80u), 8u, HEAD > 128u);
const BLOCK = select(MOST, min(MOST, 16u), QUERIES <= 16u);
const Q = max(BLOCK / LANES, 1u);
// Vectors of four channels.
const C = HEAD / 4u;

@compute @workgroup_size(LANES)
fn attention(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let last = p.length - 1u;
  // The first token of the sequence; from a token to the next.
  let start = wg.z / p.inner * p.outer + wg.z % p.inner;
  let dim = p.heads * C;
  let token = p.stride * 3u * dim;
  let at = start * 3u * dim + wg.y * C;
  // e^x = 2^(x·log2 e).
  let scale = 1.4426950408889634 / sqrt(f32(HEAD));

  for (var block = wg.x * TILE; block < min((wg.x + 1u) * TILE, p.length); block += Q * LANES) {
    var q: array<array<vec4<f32>, C>, Q>;
    var o: array<array<vec4<f32>, C>, Q>;
    var m: array<f32, Q>;
    var l: array<f32, Q>;
    for (var i = 0u; i < Q; i++) {
      // Queries past the last one repeat it, and are not stored.
      let query = at + min(block + i * LANES + lane, last) * token;
      for (var c = 0u; c < C; c++) {
        q[i][c] = scale * wide(qkv[query + c]);
        o[i][c] = vec4(0.0);
      }
      m[i] = -3.4e38;
      l[i] = 0.0;
    }

    for (var tile = 0u; tile < p.length; tile += LANES) {
      let key = at + dim + min(tile + lane, last) * token;
      let value = key + dim;
      var s: array<array<f32, LANES>, Q>;
      for (var c = 0u; c < C; c++) {
        let mine = wide(qkv[key + c]);
        for (var j = 0u; j < LANES; j++) {
          let k = subgroupShuffle(mine, j);
          for (var i = 0u; i < Q; i++) {
            s[i][j] = fma(k.x, q[i][c].x, s[i][j]);
            s[i][j] = fma(k.y, q[i][c].y, s[i][j]);
            s[i][j] = fma(k.z, q[i][c].z, s[i][j]);
            s[i][j] = fma(k.w, q[i][c].w, s[i][j]);
          }
        }
      }

      var r: array<f32, Q>;
      for (var i = 0u; i < Q; i++) {
        var top = m[i];
        for (var j = 0u; j < LANES; j++) {
          s[i][j] = select(-3.4e38, s[i][j], tile + j <= last);
          top = max(top, s[i][j]);
        }
        r[i] = exp2(m[i] - top);
        m[i] = top;
        l[i] *= r[i];
        for (var j = 0u; j < LANES; j++) {
          s[i][j] = exp2(s[i][j] - top);
          l[i] += s[i][j];
        }
      }

      for (var c = 0u; c < C; c++) {
        let mine = wide(qkv[value + c]);
        for (var i = 0u; i < Q; i++) {
          o[i][c] *= r[i];
        }
        for (var j = 0u; j < LANES; j++) {
          let v = subgroupShuffle(mine, j);
          for (var i = 0u; i < Q; i++) {
            o[i][c] = fma(vec4(s[i][j]), v, o[i][c]);
          }
        }
      }
    }

    for (var i = 0u; i < Q; i++) {
      let query = block + i * LANES + lane;
      if query <= last {
        let to = (start + query * p.stride) * dim + wg.y * C;
        for (var c = 0u; c < C; c++) {
          out[to + c] = narrow_o(o[i][c] / l[i]);
        }
      }
    }
  }
}
