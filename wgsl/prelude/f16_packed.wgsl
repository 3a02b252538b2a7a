// T = f16 where the adapter only stores it: packing is part of every WGSL.
alias T4 = vec2<u32>;
fn wide(x: T4) -> vec4<f32> { return vec4(unpack2x16float(x.x), unpack2x16float(x.y)); }
fn narrow(x: vec4<f32>) -> T4 { return vec2(pack2x16float(x.xy), pack2x16float(x.zw)); }
