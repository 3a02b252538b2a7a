//! What only the inside of the crate can try.

use super::*;
use crate::device::{Device, Kernel, Text};

/// A shader that does not compile is an error that names the op, the file and the line, and so is all that comes after
/// it.
#[test]
fn broken_shaders_are_errors() {
    static BROKEN: Kernel = Kernel {
        name: "broken",
        cpu: &[],
        wgsl: &[Source::wgsl(
            "naive",
            Text::new("broken.wgsl", "#include \"common/exp.wgsl\"\n\nfn broken() -> u33 {}"),
            [1; 3],
        )],
        cuda: &[],
    };
    for name in ["wgpu", "wgpu:core"] {
        let Ok(device) = pollster::block_on(Device::open(name)) else { continue };
        let mut out = Tensor::zeros(&device, DType::F32, [4]).unwrap();
        let mut writes = [&mut out];
        let call = Call::new(&BROKEN, Gate::Open, &mut writes, &[]).params(&0u32);
        let why = call.run().unwrap_err().to_string();
        assert!(why.contains("broken.wgsl:3:16") && why.contains("u33") && !why.contains('\n'), "{why}");
        assert_eq!(pollster::block_on(out.read()).unwrap_err().to_string(), why);
    }
}
