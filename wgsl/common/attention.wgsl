// out = softmax(q · kᵀ / √h) · v, FlashAttention-2 (arXiv 2307.08691) in workgroup memory.
//
// A workgroup of ROWS × COLUMNS invocations takes QUERIES queries of one head and goes over the keys, 32 at a
// time:
//
//   s = q · kᵀ        an invocation makes 4 queries × 4 keys, from slices of 36 channels in workgroup memory
//   m' = max(m, s)    per query, over its row of invocations
//   p = exp(s − m')   from registers to workgroup memory, where the queries were
//   o = o·r + p · v   an invocation makes 4 queries × h/8 channels; r = exp(m − m')
//
// Both products take a vec4 from workgroup memory for 8 or more multiply-adds. In s, p, m, l and o, four
// queries are one vec4. Every invocation adds up l itself, and just as it adds up o, so that their roundings
// cancel.
//
// Whoever includes this brings `most`, the largest of what the COLUMNS neighbours of a row have. Nobody returns
// from it before all of the workgroup have called it: what they have read until then is written next.
struct Params { length: u32, stride: u32, inner: u32, outer: u32, heads: u32, head: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<O4>;
@group(0) @binding(1) var<storage, read> qkv: array<T4>;
@group(0) @binding(2) var<uniform> p: Params;

const ROWS = QUERIES / 4u;
const COLUMNS = 8u;
const WG = ROWS * COLUMNS;
const KEYS = 4u * COLUMNS;
// Vectors of four channels: of a head, and of a slice of it. The latter is odd, so that what eight
// invocations read from eight rows lies in different banks.
const C = HEAD / 4u;
const SLICE = 9u;
// Values that fit where a slice of the keys does.
const VALUES = max(min(KEYS, KEYS * SLICE / C), 1u);
// The columns take turns at the vectors of four channels of o. When fewer than eight vectors are left, they
// take two of them at a time, a column for one of the four queries: those are `rest`.
const FULL = C / COLUMNS;
const REST = (C % COLUMNS + 1u) / 2u;

var<workgroup> kv: array<vec4<f32>, max(KEYS * SLICE, C)>;
// The weights p lie by key, in rows of ROWS + 1 (the banks again).
var<workgroup> qp: array<vec4<f32>, max(QUERIES * SLICE, KEYS * (ROWS + 1u))>;

@compute @workgroup_size(WG)
fn attention(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) me: u32) {
  let row = me / COLUMNS;
  let column = me % COLUMNS;
  let first = wg.x * QUERIES;
  let last = p.length - 1u;
  // The first token of the sequence; from a token to the next; from queries to keys, or from keys to values.
  let start = wg.z / p.inner * p.outer + wg.z % p.inner;
  let dim = p.heads * C;
  let token = p.stride * 3u * dim;
  let q = start * 3u * dim + wg.y * C;
  let k = q + dim;
  let v = k + dim;
  // e^x = 2^(x·log2 e).
  let scale = 1.4426950408889634 / sqrt(f32(HEAD));

  var o: array<array<vec4<f32>, 4>, max(FULL, 1u)>;
  var rest: array<vec4<f32>, max(REST, 1u)>;
  var m = vec4(-3.4e38);
  var l = vec4(0.0);
  for (var tile = 0u; tile < p.length; tile += KEYS) {
    var s: array<vec4<f32>, 4>;
    for (var slice = 0u; slice < C; slice += SLICE) {
      let width = min(SLICE, C - slice);
      workgroupBarrier();
      // Rows past the end repeat the last one.
      for (var i = me; i < QUERIES * SLICE; i += WG) {
        if i % SLICE < width {
          qp[i] = scale * wide(qkv[q + min(first + i / SLICE, last) * token + slice + i % SLICE]);
        }
      }
      for (var i = me; i < KEYS * SLICE; i += WG) {
        if i % SLICE < width {
          kv[i] = wide(qkv[k + min(tile + i / SLICE, last) * token + slice + i % SLICE]);
        }
      }
      workgroupBarrier();
      for (var c = 0u; c < width; c++) {
        let at = 4u * row * SLICE + c;
        let by_channel =
          transpose(mat4x4(qp[at], qp[at + SLICE], qp[at + 2u * SLICE], qp[at + 3u * SLICE]));
        for (var j = 0u; j < 4u; j++) {
          let key = kv[(column + j * COLUMNS) * SLICE + c];
          s[j] = fma(by_channel[0], vec4(key.x), s[j]);
          s[j] = fma(by_channel[1], vec4(key.y), s[j]);
          s[j] = fma(by_channel[2], vec4(key.z), s[j]);
          s[j] = fma(by_channel[3], vec4(key.w), s[j]);
        }
      }
    }

    var top = m;
    for (var j = 0u; j < 4u; j++) {
      if tile + column + j * COLUMNS > last {
        s[j] = vec4(-3.4e38);
      }
      top = max(top, s[j]);
    }
    top = most(top, me);
    let r = exp2(m - top);
    m = top;
    l *= r;
    for (var j = 0u; j < 4u; j++) {
      qp[(column + j * COLUMNS) * (ROWS + 1u) + row] = exp2(s[j] - top);
    }

    for (var g = 0u; g < FULL; g++) {
      o[g][0] *= r;
      o[g][1] *= r;
      o[g][2] *= r;
      o[g][3] *= r;
    }
    for (var g = 0u; g < REST; g++) {
      rest[g] *= r[column % 4u];
    }
    let keys = min(KEYS, p.length - tile);
    for (var part = 0u; part < keys; part += VALUES) {
      let values = min(VALUES, keys - part);
      if part > 0u {
        workgroupBarrier();
      }
      for (var i = me; i < values * C; i += WG) {
        kv[i] = wide(qkv[v + (tile + part + i / C) * token + i % C]);
      }
      workgroupBarrier();
      for (var j = 0u; j < values; j++) {
        let at = (part + j) * (ROWS + 1u) + row;
        let weight = qp[at];
        l += weight;
        for (var g = 0u; g < FULL; g++) {
          let value = kv[j * C + g * COLUMNS + column];
          o[g][0] = fma(weight, vec4(value.x), o[g][0]);
          o[g][1] = fma(weight, vec4(value.y), o[g][1]);
          o[g][2] = fma(weight, vec4(value.z), o[g][2]);
          o[g][3] = fma(weight, vec4(value.w), o[g][3]);
        }
        for (var g = 0u; g < REST; g++) {
          let c = min(FULL * COLUMNS + 2u * g + column / 4u, C - 1u);
          rest[g] = fma(vec4(qp[at][column % 4u]), kv[j * C + c], rest[g]);
        }
      }
    }
  }

  let to = start * dim + wg.y * C;
  for (var g = 0u; g < FULL; g++) {
    let by_query = transpose(mat4x4(o[g][0], o[g][1], o[g][2], o[g][3]));
    for (var i = 0u; i < 4u; i++) {
      let query = first + 4u * row + i;
      if query <= last {
        out[to + query * p.stride * dim + g * COLUMNS + column] = narrow_o(by_query[i] / l[i]);
      }
    }
  }
  for (var g = 0u; g < REST; g++) {
    let query = first + 4u * row + column % 4u;
    let c = FULL * COLUMNS + 2u * g + column / 4u;
    if query <= last && c < C {
      out[to + query * p.stride * dim + c] = narrow_o(rest[g] / l[column % 4u]);
    }
  }
}
