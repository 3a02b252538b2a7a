// Not an op: turns a flag into the workgroup counts of the calls that it gates, so that nobody has to wait for it.
//
// Slots are (x, y, z, wanted): a grid and the truth of the flag at which it runs. `arguments` of slot i starts at word
// 4·i. The calls that the flag's previous value gated are counted at the same time: `tally` = (ran, turned away).
struct Params { slots: u32, ran_if: u32, ran_unless: u32 }
@group(0) @binding(0) var<storage, read_write> arguments: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> tally: array<u32>;
@group(0) @binding(2) var<storage, read_write> previous: array<u32>;
@group(0) @binding(3) var<storage, read> flag: array<u32>;
@group(0) @binding(4) var<storage, read> slots: array<vec4<u32>>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(64)
fn gate(@builtin(local_invocation_index) thread: u32) {
  let open = flag[0] != 0u;
  if thread == 0u {
    let was_open = previous[0] != 0u;
    tally[0] += select(p.ran_unless, p.ran_if, was_open);
    tally[1] += select(p.ran_if, p.ran_unless, was_open);
    previous[0] = flag[0];
  }
  for (var i = thread; i < p.slots; i += 64u) {
    let slot = slots[i];
    arguments[i] = select(vec4(0u), slot, (slot.w != 0u) == open);
  }
}
