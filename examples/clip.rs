//! Makes a clip twice from the same noise, without a cache and with TeaCache, and tells what the cache gained.
//!
//! `cargo run --release --example clip`

use std::time::Instant;

use steep::evaluate::metrics::psnr;
use steep::model::Dit;
use steep::{Device, generate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(async {
        let device = Device::open("auto").await?;
        let model = Dit::shipped(&device)?;
        let uncached = generate(&model).class(7).seed(3);
        let cached = uncached.clone().cache("tea:0.1:identity".parse()?);
        cached.warm_up().await?;
        let start = Instant::now();
        let before = uncached.run().await?;
        let middle = Instant::now();
        let after = cached.run().await?;
        let faster = (middle - start).as_secs_f64() / middle.elapsed().as_secs_f64();
        let (before_video, after_video) = (&before.videos()?[0], &after.videos()?[0]);
        let psnr = psnr(before_video, after_video)?;
        println!(
            "{} of {} steps computed: {faster:.2}× faster, PSNR {psnr:.1} dB",
            after.computed(),
            after.steps.len()
        );
        let path = std::env::temp_dir().join("seven.gif");
        std::fs::write(&path, after_video.picture(8)?.gif(8)?)?;
        println!("wrote {}", path.display());
        Ok(())
    })
}
