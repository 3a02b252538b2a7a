//! `cargo bench`: every op × source × shape of `steep::cases`, and the shipped model's forward pass. Filter with
//! `cargo bench -- modulate`. `STEEP_DEVICE=cpu,wgpu` names devices (default: the best there is). For rates beside this
//! machine's ceilings, `steep bench`.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use pollster::block_on;
use steep::cases::bench::Bench;
use steep::cases::run::sources;
use steep::cases::{ALL, forward};
use steep::model::Checkpoint;
use steep::{DType, Device, Result};

fn main() -> Result<()> {
    // As in the program: this thread is one of those that compute.
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let named = std::env::var("STEEP_DEVICE").unwrap_or_else(|_| "auto".into());
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    for name in named.split(',') {
        let device = block_on(Device::open(name))?;
        for op in ALL {
            let mut group = criterion.benchmark_group(format!("{}/{}", device.name(), op.kernel.name));
            for case in op.benches(DType::F32) {
                group.throughput(match case.flops {
                    0 => Throughput::BytesDecimal(case.bytes as u64),
                    flops => Throughput::Elements(flops as u64),
                });
                let make = || Bench::new(&device, case.clone());
                time(&mut group, &device, &sources(&device, op.kernel), &case.name, &make);
            }
            group.finish();
        }
        let checkpoint = Checkpoint::shipped()?;
        let mut group = criterion.benchmark_group(format!("{}/forward", device.name()));
        group.throughput(Throughput::Elements(checkpoint.config().flops(2)));
        let make = || block_on(forward::bench(&device, &checkpoint, DType::F32, 2));
        time(&mut group, &device, &["best"], &format!("{} ×2", checkpoint.name()), &make);
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

/// One shape with all its sources, verified before and after. A wrong result ends the run. What the filter leaves out is
/// not even made.
fn time(
    group: &mut BenchmarkGroup<'_, WallTime>,
    device: &Device,
    sources: &[&'static str],
    shape: &str,
    make: &dyn Fn() -> Result<Bench>,
) {
    fn or_end<T>(result: Result<T>) -> T {
        result.unwrap_or_else(|e| panic!("{e}"))
    }
    let mut made: Option<Bench> = None;
    for source in sources {
        let mut verified = false;
        device.prefer(Some(source));
        group.bench_function(BenchmarkId::new(*source, shape), |b| {
            let bench = made.get_or_insert_with(|| {
                let mut bench = or_end(make());
                if device.is_gpu() {
                    or_end(bench.rotate());
                }
                bench
            });
            if !verified {
                device.prefer(Some(source));
                or_end(block_on(bench.verify()));
                verified = true;
                if !bench.took(source) {
                    eprintln!("{source} does not take {shape}: timing what ran instead");
                }
            }
            b.iter_custom(|runs| Duration::from_secs_f64(or_end(block_on(bench.seconds(runs as usize)))));
        });
        if let Some(bench) = made.as_mut().filter(|_| verified) {
            or_end(block_on(bench.verify()));
        }
    }
    device.prefer(None);
}
