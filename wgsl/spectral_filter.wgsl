// out[o, i, :] = Σ_j kernels[step, (i − j) mod n]·x[o, j, :] along an axis of n rows of `stride` elements. A workgroup
// takes 1024 elements of a row, an invocation one of them at a time.
struct Params { outer: u32, places: u32, stride: u32, step: u32 }
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> kernels: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(256)
fn spectral_filter(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = group.z * p.places;
  let end = min((group.x + 1u) * 1024u, p.stride);
  for (var c = group.x * 1024u + thread; c < end; c += 256u) {
    var total = 0.0;
    for (var j = 0u; j < p.places; j++) {
      let weight = kernels[p.step * p.places + (group.y + p.places - j) % p.places];
      let at = (first + j) * p.stride + c;
      total = fma(weight, element(x[at / PER], at % PER), total);
    }
    out[(first + group.y) * p.stride + c] = total;
  }
}
