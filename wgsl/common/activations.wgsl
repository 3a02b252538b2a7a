// Activations. exp's argument stays where exp is finite: infinities are not WGSL's to promise.
fn sigmoid(x: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(min(-x, vec4(87.0)))); }
fn silu(x: vec4<f32>) -> vec4<f32> { return x * sigmoid(x); }
// tanh approximation, ½·(1 + tanh u) being σ(2u): u = √(2/π)·(x + 0.044715·x³).
fn gelu(x: vec4<f32>) -> vec4<f32> { return x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x)); }
