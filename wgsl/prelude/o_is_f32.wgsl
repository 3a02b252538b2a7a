// O, the type of the first output, is f32.
alias O4 = vec4<f32>;
const PER_O = 1u;
fn wide_o(x: O4) -> vec4<f32> { return x; }
fn narrow_o(x: vec4<f32>) -> O4 { return x; }
fn element_o(word: u32, i: u32) -> f32 { return bitcast<f32>(word); }
fn put_o(word: u32, i: u32, x: f32) -> u32 { return bitcast<u32>(x); }
