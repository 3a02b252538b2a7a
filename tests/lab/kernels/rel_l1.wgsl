// partials[run] = (Σ|cur − prev|, Σ|prev|), then prev = cur. A workgroup takes a run, and adds up in a tree.
//
// steep: tile = 1, 1, 1
// steep: dtypes = f32
struct Params { elements: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> prev: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> cur: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> sums: array<vec2<f32>, 256>;

// Where a run begins, without a product that u32 may not hold.
fn begin(run: u32) -> u32 {
  return p.elements / p.runs * run + p.elements % p.runs * run / p.runs;
}

// The terms of an element; moves `prev` on.
fn step(i: u32, end: u32) -> vec2<f32> {
  if i >= end {
    return vec2(0.0);
  }
  let old = prev[i];
  prev[i] = cur[i];
  return vec2(abs(cur[i] - old), abs(old));
}

@compute @workgroup_size(256)
fn rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let end = begin(group.x + 1u);
  var i = begin(group.x) + t;
  var total = vec2(0.0);
  // No more than 64 additions in a row: equal addends all round the same way.
  while i < end {
    var part = vec2(0.0);
    for (var k = 0u; k < 64u && i < end; k++) {
      part += (step(i, end) + step(i + 256u, end)) + (step(i + 512u, end) + step(i + 768u, end));
      i += 1024u;
    }
    total += part;
  }
  sums[t] = total;
  workgroupBarrier(); // the tree reads what others wrote
  for (var half = 128u; half > 0u; half /= 2u) {
    if t < half {
      sums[t] += sums[t + half];
    }
    workgroupBarrier();
  }
  if t == 0u {
    partials[group.x] = sums[0];
  }
}
