// partials[r] = (Σ|cur − prev|, Σ|prev|) over the r-th share of the elements, then prev = cur.
//
// A workgroup takes a share. Each run of WIDTH invocations takes a part of that, in which they walk side by
// side, four elements to an invocation. Whoever includes this brings a `sum`, its WG and its WIDTH.
#include "common/cut.wgsl"

struct Params { elements: u32, runs: u32 }
@group(0) @binding(0) var<storage, read_write> prev: array<T4>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> cur: array<T4>;
@group(0) @binding(3) var<uniform> p: Params;

struct Sums { change: vec4<f32>, size: vec4<f32> }

fn add(a: Sums, b: Sums) -> Sums {
  return Sums(a.change + b.change, a.size + b.size);
}

// The terms of one vector; moves `prev` on.
fn step(i: u32) -> Sums {
  let next = cur[i];
  let old = wide(prev[i]);
  prev[i] = next;
  return Sums(abs(wide(next) - old), abs(old));
}

fn step2(i: u32) -> Sums { return add(step(i), step(i + WIDTH)); }
fn step4(i: u32) -> Sums { return add(step2(i), step2(i + 2u * WIDTH)); }
fn step8(i: u32) -> Sums { return add(step4(i), step4(i + 4u * WIDTH)); }

@compute @workgroup_size(WG)
fn rel_l1(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let vectors = p.elements / 4u;
  let share = cut(vectors, p.runs, group.x);
  let length = cut(vectors, p.runs, group.x + 1u) - share;
  let begin = share + cut(length, WG / WIDTH, thread / WIDTH);
  let end = share + cut(length, WG / WIDTH, thread / WIDTH + 1u);
  let whole = end - (end - begin) % (8u * WIDTH);
  var i = begin + thread % WIDTH;
  var total = Sums();
  // Eight at a time, so that reads overlap, and because llvmpipe ends all loops of a shader after 65535
  // iterations together. And not more than 64 additions in a row, since equal addends are all rounded the
  // same way.
  while i < whole {
    var part = Sums();
    for (var k = 0u; k < 64u && i < whole; k++) {
      part = add(part, step8(i));
      i += 8u * WIDTH;
    }
    total = add(total, part);
  }
  for (; i < end; i += WIDTH) {
    total = add(total, step(i));
  }
  let change = (total.change.x + total.change.y) + (total.change.z + total.change.w);
  let size = (total.size.x + total.size.y) + (total.size.z + total.size.w);
  let sums = sum(vec2(change, size), thread, WG);
  if thread == 0u {
    partials[group.x] = sums;
  }
}
