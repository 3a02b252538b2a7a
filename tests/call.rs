//! What a call of an op of one's own is checked for, before anything reaches a device.

use pollster::block_on;
use steep::device::cpu::{Arguments, Tile};
use steep::device::simd::Isa;
use steep::device::{Call, Gate, Kernel, Source, Text, cpu_sources};
use steep::{DType, Device, Result, Tensor};

static FILL: Kernel = Kernel { name: "fill", cpu: cpu_sources!(fill, tile: [1, 2, 3]), wgsl: &[], cuda: &[] };

/// Writes a unit's number, in row-major order, into it.
#[inline(always)]
#[allow(clippy::extra_unused_type_parameters)] // Kernels are generic over the instruction set.
fn fill<I: Isa>(args: &Arguments<'_>, Tile(spans): &Tile) {
    let ([_, rows, columns], [layers, lines, span]) = (args.work(), spans);
    for (i, j) in layers.clone().flat_map(|i| lines.clone().map(move |j| (i, j))) {
        let row = (i * rows + j) * columns;
        // SAFETY: tiles are disjoint.
        let out = unsafe { args.write::<f32>(0, row + span.start..row + span.end) };
        out.iter_mut().zip(row + span.start..).for_each(|(out, n)| *out = n as f32 + args.params::<f32>());
    }
}

fn call<'a, 'w>(writes: &'a mut [&'w mut Tensor], reads: &'a [&'w Tensor]) -> Call<'a, 'w> {
    Call::new(&FILL, Gate::Open, writes, reads).params(&0.5f32)
}

fn why(result: Result<()>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn tiles_cover_the_work_once() {
    let device = Device::cpu();
    for work in [[1, 1, 1], [2, 3, 4], [3, 5, 7], [1, 2, 3], [4, 0, 2]] {
        let n = work.iter().product();
        for source in device.sources(&FILL) {
            device.prefer(Some(source.label));
            let mut out = Tensor::guarded(&device, DType::F32, [n]).unwrap();
            call(&mut [&mut out], &[]).work(work).run().unwrap();
            let want: Vec<f32> = (0..n).map(|i| i as f32 + 0.5).collect();
            assert_eq!(block_on(out.read_f32()).unwrap(), want, "{work:?} {}", source.label);
            assert!(!block_on(out.overrun()).unwrap());
        }
    }
}

#[test]
fn calls_are_checked() {
    let device = Device::cpu();
    let zeros = |device: &Device| Tensor::zeros(device, DType::F32, [1]).unwrap();
    let (mut out, x, foreign) = (zeros(&device), zeros(&device), zeros(&Device::cpu()));
    let wanted = "fill: tensors: wanted 1 to 8 in all, at least one of them written, got";
    assert_eq!(why(call(&mut [], &[&x]).run()), format!("{wanted} 0 and 1"));
    assert_eq!(why(call(&mut [&mut out], &[&x; 8]).run()), format!("{wanted} 1 and 8"));
    call(&mut [&mut out], &[&x; 7]).run().unwrap();

    let wanted = "fill: params: wanted 4 to 256 bytes, a multiple of 4, got";
    assert_eq!(why(Call::new(&FILL, Gate::Open, &mut [&mut out], &[]).run()), format!("{wanted} 0"));
    assert_eq!(why(call(&mut [&mut out], &[]).params(&[0u32; 65]).run()), format!("{wanted} 260"));
    assert_eq!(why(call(&mut [&mut out], &[]).params(&[0u8; 6]).run()), format!("{wanted} 6"));

    let error = why(call(&mut [&mut out], &[]).work([1 << 40, 1 << 40, 1]).run());
    assert!(error.starts_with("fill: work: wanted less than 2^64 units, got ["), "{error}");

    let wanted = "fill: tensors: wanted all on cpu, got tensors of two devices";
    assert_eq!(why(call(&mut [&mut out], &[&foreign]).run()), wanted);
    let flag = Tensor::from_u32(&Device::cpu(), [1], &[1]).unwrap();
    let gated = Call::new(&FILL, Gate::If(&flag), &mut [&mut out], &[]).params(&0.5f32).run();
    assert_eq!(why(gated), wanted);
    let gated = Call::new(&FILL, Gate::If(&x), &mut [&mut out], &[]).params(&0.5f32).run();
    assert_eq!(why(gated), "fill: gate: wanted u32 [1], got f32 [1]");
}

#[test]
fn a_language_without_a_source_is_an_error() {
    static NOWHERE: Kernel = Kernel { name: "nowhere", cpu: &[], wgsl: &[], cuda: &[] };
    let mut out = Tensor::zeros(&Device::cpu(), DType::F32, [1]).unwrap();
    let call = Call::new(&NOWHERE, Gate::Open, &mut [&mut out], &[]).params(&0u32).run();
    assert_eq!(why(call), "device cpu: no source of `nowhere` runs here");
}

#[test]
#[should_panic(expected = "CUDA kernels run unchecked")]
fn cuda_takes_trusted_texts_only() {
    Source::cuda("naive", Text::new("own.cu", ""), 256, [1; 3]);
}

#[test]
#[should_panic(expected = "a tile of nothing")]
fn tiles_have_a_size() {
    Source::wgsl("naive", Text::new("own.wgsl", ""), [1, 0, 1]);
}
