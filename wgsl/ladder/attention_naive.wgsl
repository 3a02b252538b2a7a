// out = softmax(q · kᵀ / √h) · v, one query of one head to an invocation, the keys in two passes: first the
// largest score, then the weights and the sums.
//
// Where two elements share a word and h is odd, an invocation takes two neighbours in memory: only then are
// the words that it writes its own. Four channels are a vector, but not for speed: Mesa's llvmpipe ends all
// loops of an invocation after 65535 turns.
struct Params { length: u32, stride: u32, inner: u32, outer: u32, heads: u32, head: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

// Heads of an invocation.
const HEADS = select(1u, PER, HEAD % 2u == 1u);

fn load(i: u32) -> f32 {
  return element(qkv[i / PER], i % PER);
}

// Channels 4·c to 4·c + 3 of the head that starts at element `head`; zeros past its end.
fn channels(head: u32, c: u32) -> vec4<f32> {
  let i = vec4(4u * c) + vec4(0u, 1u, 2u, 3u);
  let at = head + min(i, vec4(p.head - 1u));
  return select(vec4(0.0), vec4(load(at.x), load(at.y), load(at.z), load(at.w)), i < vec4(p.head));
}

fn score(query: u32, key: u32) -> f32 {
  var s = 0.0;
  for (var c = 0u; 4u * c < p.head; c++) {
    s += dot(channels(query, c), channels(key, c));
  }
  return s / sqrt(f32(p.head));
}

@compute @workgroup_size(64)
fn attention(
  @builtin(workgroup_id) wg: vec3<u32>,
  @builtin(num_workgroups) wgs: vec3<u32>,
  @builtin(local_invocation_index) me: u32,
) {
  let dim = p.heads * p.head;
  // Heads of tokens in the order of memory: there are invocations enough, if not where the work is.
  let all = wgs.z * p.heads * p.length;
  let id = ((wg.z * wgs.y + wg.y) * wgs.x + wg.x) * 64u + me;
  for (var i = id * HEADS; i < min((id + 1u) * HEADS, all); i++) {
    let row = i / p.heads;
    let head = i % p.heads * p.head;
    let query = row * 3u * dim + head;
    // The key of the first token of the sequence; from a token to the next.
    let first = (row / p.outer * p.outer + row % p.inner) * 3u * dim + dim + head;
    let token = p.stride * 3u * dim;

    var m = -3.4e38;
    for (var j = 0u; j < p.length; j++) {
      m = max(m, score(query, first + j * token));
    }
    var l = 0.0;
    // With room for a whole last vector.
    var o: array<f32, HEAD + 3u>;
    for (var j = 0u; j < p.length; j++) {
      let key = first + j * token;
      let weight = exp(score(query, key) - m);
      l += weight;
      for (var c = 0u; 4u * c < p.head; c++) {
        let v = weight * channels(key + dim, c);
        o[4u * c] += v.x;
        o[4u * c + 1u] += v.y;
        o[4u * c + 2u] += v.z;
        o[4u * c + 3u] += v.w;
      }
    }
    for (var c = 0u; c < p.head; c++) {
      let to = i * p.head + c;
      out[to / PER] = put(out[to / PER], to % PER, o[c] / l);
    }
  }
}
