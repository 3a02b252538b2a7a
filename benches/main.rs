//! `cargo bench`: every op × source × shape, and the shipped model's forward pass. Filter with `cargo bench -- modulate`.
//! `STEEP_DEVICE=cpu,wgpu` names devices (default: the best there is). For rates beside this machine's ceilings,
//! `steep bench`.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use steep::model::Checkpoint;
use steep::{DType, Device, Result};

// The program's table uses the rest.
#[allow(dead_code)]
#[path = "cases.rs"]
mod cases;

use cases::{Case, forward, ops};

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
        let device = pollster::block_on(Device::open(name))?;
        for (_, cases) in ops::ALL {
            bench(&mut criterion, &device, cases(&device, DType::F32)?);
        }
        bench(&mut criterion, &device, vec![forward::case(&device, &Checkpoint::shipped()?, DType::F32, 2)?]);
    }
    criterion.final_summary();
    Ok(())
}

/// One group: an op, all its sources and shapes. A wrong result ends the run.
fn bench(criterion: &mut Criterion, device: &Device, mut cases: Vec<Case>) {
    let mut group = criterion.benchmark_group(format!("{}/{}", device.name(), cases[0].op));
    for case in &mut cases {
        if device.is_gpu() {
            case.rotate().unwrap_or_else(|e| panic!("{e}"));
        }
        group.throughput(match case.flops {
            0 => Throughput::BytesDecimal(case.bytes as u64),
            flops => Throughput::Elements(flops as u64),
        });
        for source in case.sources(device) {
            device.prefer(Some(source));
            let mut verified = false;
            group.bench_function(BenchmarkId::new(source, &case.shape), |b| {
                if !verified {
                    case.verify().unwrap_or_else(|e| panic!("{e}"));
                    verified = true;
                    if !case.took(device, source) {
                        eprintln!("{source} does not take {}: timing what ran instead", case.shape);
                    }
                }
                b.iter_custom(|runs| {
                    let seconds = case.seconds(device, runs as usize).unwrap_or_else(|e| panic!("{e}"));
                    Duration::from_secs_f64(seconds)
                });
            });
        }
        device.prefer(None);
    }
    group.finish();
}
