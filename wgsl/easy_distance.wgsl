// pair = (Σ|v − v"|·Σ|x − x'|, Σ|x − x"|·Σ|v|) from the partial sums of each. One workgroup.
#include "common/sum.wgsl"

const WG = 64u;

struct Params { partials: u32 }
@group(0) @binding(0) var<storage, read_write> pair: array<f32>;
@group(0) @binding(1) var<storage, read> moved: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> inputs: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> outputs: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> sizes: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn easy_distance(@builtin(local_invocation_index) thread: u32) {
  var rate = vec2(0.0);
  var change = vec2(0.0);
  for (var i = thread; i < p.partials; i += WG) {
    rate += vec2(outputs[i].x, inputs[i].x);
    // The size of what did not move stands in the second column.
    change += vec2(moved[i].x, sizes[i].y);
  }
  let rates = sum(rate, thread, WG);
  let changes = sum(change, thread, WG);
  if thread == 0u {
    pair[0] = rates.x * changes.x;
    pair[1] = rates.y * changes.y;
  }
}
