// O, the type of the first output, is T.
alias O4 = T4;
const PER_O = PER;
fn wide_o(x: O4) -> vec4<f32> { return wide(x); }
fn narrow_o(x: vec4<f32>) -> O4 { return narrow(x); }
fn element_o(word: u32, i: u32) -> f32 { return element(word, i); }
fn put_o(word: u32, i: u32, x: f32) -> u32 { return put(word, i, x); }
