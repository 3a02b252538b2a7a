// T = f32.
alias T4 = vec4<f32>;
const PER = 1u;
fn wide(x: T4) -> vec4<f32> { return x; }
fn narrow(x: vec4<f32>) -> T4 { return x; }
fn element(word: u32, i: u32) -> f32 { return bitcast<f32>(word); }
fn put(word: u32, i: u32, x: f32) -> u32 { return bitcast<u32>(x); }
