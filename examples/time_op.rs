//! Times one op with every source that this machine has for it, and verifies each result before and after.
//!
//! `cargo run --release --example time_op -- modulate`

use steep::cases::{self, bench::Bench};
use steep::{DType, Device, Error, Result};

fn main() -> Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "modulate".into());
    let op = cases::ALL.iter().find(|op| op.kernel.name == name);
    let op = op.ok_or_else(|| Error::setting(format!("op {name}"), "one of steep::ops"))?;
    pollster::block_on(async {
        let device = Device::open("auto").await?;
        println!("{}", device.describe());
        for case in op.benches(DType::F32) {
            let mut bench = Bench::new(&device, case)?;
            for source in bench.sources() {
                device.prefer(Some(source));
                bench.verify().await?;
                if !bench.took(source) {
                    continue;
                }
                let seconds = bench.time(0.1).await?;
                let error = bench.verify().await?;
                let (shape, rate) = (&bench.shape, bench.bytes as f64 / seconds / 1e9);
                println!(
                    "{name} {shape}: {source:9} {:9.4} ms {rate:7.1} GB/s, error {error:.0e}",
                    1e3 * seconds
                );
            }
            device.prefer(None);
        }
        Ok(())
    })
}
