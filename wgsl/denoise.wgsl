// z = keep·z + add·v, where v = c of unguided tokens, and v = u + guidance·(c − u) of guided ones, whose
// first half is c and whose second is u. Of the clip's channels the first `guided` are guided.
//
// A workgroup takes TILE rows of patches, an invocation one pixel of one channel at a time. What has to be
// divided by is a constant of the call: PATCH (the size of a patch), ACROSS and DOWN (patches of an image),
// CHANNELS.
struct Params {
  frames: u32, channels: u32, height: u32, width: u32, patch_size: u32, predicted: u32, guided: u32,
  keep: f32, add: f32, guidance: f32, bands: u32,
}
@group(0) @binding(0) var<storage, read_write> z: array<f32>;
@group(0) @binding(1) var<storage, read> tokens: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn denoise(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  const width = ACROSS * PATCH;
  // Pixels of a band, channel by channel, line by line.
  const pixels = CHANNELS * PATCH * width;
  let token = PATCH * PATCH * p.predicted;
  let end = min((group.x + 1u) * TILE, p.bands) * pixels;
  for (var i = group.x * TILE * pixels + thread; i < end; i += WG) {
    let band = i / pixels;
    let channel = i % pixels / (PATCH * width);
    let y = i / width % PATCH;
    let x = i % width;
    let pixel = (y * PATCH + x % PATCH) * p.predicted + channel;
    let first = (band * ACROSS + x / PATCH) * token + pixel;
    var v = tokens[first];
    if channel < p.guided {
      let u = tokens[p.bands * ACROSS * token + first];
      v = fma(p.guidance, v - u, u);
    }
    let image = band / DOWN * CHANNELS + channel;
    let at = ((image * DOWN + band % DOWN) * PATCH + y) * width + x;
    // At 0 the clip may be anything.
    var kept = 0.0;
    if p.keep != 0.0 {
      kept = p.keep * z[at];
    }
    z[at] = fma(p.add, v, kept);
  }
}
