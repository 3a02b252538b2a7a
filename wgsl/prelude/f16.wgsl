// T = f16 where the adapter computes with it (needs `enable f16`).
alias T4 = vec4<f16>;
fn wide(x: T4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> T4 { return vec4<f16>(x); }
