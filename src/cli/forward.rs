//! `steep forward`

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use steep::device::Gate;
use steep::model::{Condition, Config, Dit, Model, RunSize, TensorFile};
use steep::{DType, Error, Result, Tensor};

use super::{memory, output, progress, setup};

/// Evaluate the model once on given tensors, to compare it with another implementation
///
/// Reads `x` [B, F, C, H, W], `t` [B] (times, 0 to 1000) and `y` [B] (classes, integers); writes, as f32,
/// `out` [B, F, P, H, W] and `gate_signal` [B·F, N, d], the modulated input of block 0.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  steep forward in.safetensors --out out.safetensors --dtype bf16")]
pub struct Args {
    /// Input tensors (safetensors)
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where to write the results (safetensors)
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    weights: setup::Weights,
    #[arg(long, value_name = "NAME", default_value = "auto", help = setup::device_help())]
    device: String,
    /// Type of matrix operands: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: DType,
}

pub async fn run(args: &Args) -> Result<()> {
    let checkpoint = args.weights.checkpoint(false)?;
    let config = checkpoint.config();
    let Inputs { x, t, y } = Inputs::read(&args.input, config)?;
    output::check(&[&args.out], &[])?;
    let device = setup::open(&args.device).await?;
    let run =
        RunSize { clips: t.len(), guided: false, steps: 1, dtype: args.dtype, residuals: 0, signals: 0 };
    let footprint = config.footprint(run);
    memory::check(&footprint, &device)?;
    super::say(&memory::plan(&footprint, &device))?;
    let _busy = progress::busy("evaluating the model", false);
    let model = Dit::load(&device, &checkpoint, args.dtype)?;

    let (b, c) = (t.len(), config);
    let clip = |channels| [b, c.frames, channels, c.height, c.width];
    let x = Tensor::from_f32(&device, DType::F32, clip(c.channels), &x)?;
    let mut pass = model.begin(&Condition::Classes(y), &t)?;
    pass.evaluate(Gate::Open, &x, 0)?;
    let out = pass.prediction(c, b)?.read_f32().await?;
    let signal = pass.streams().signal.read_f32().await?;
    args.dtype.check_finite("gate_signal", &signal)?;
    args.dtype.check_finite("out", &out)?;
    let tensors = [
        ("out", clip(c.out_channels()).to_vec(), &out[..]),
        ("gate_signal", vec![b * c.frames, c.tokens(), c.dim], &signal[..]),
    ];
    output::write(&[(&args.out, output::safetensors(&args.out, &tensors, None)?)])
}

/// What the model is evaluated on.
struct Inputs {
    x: Vec<f32>,
    t: Vec<f32>,
    y: Vec<usize>,
}

impl Inputs {
    fn read(path: &Path, c: &Config) -> Result<Inputs> {
        let wrong = |why: String| Error::file(path, why);
        let file = TensorFile::open(path)?;
        let tensor = |name: &str, wanted: &str| match file.info(name) {
            Some(info) => Ok(Stored { dtype: info.dtype, shape: &info.shape, data: file.data(name)? }),
            None => Err(wrong(format!("no tensor `{name}`; wanted {wanted}"))),
        };
        let clip = [c.frames, c.channels, c.height, c.width];
        let wanted = format!("x [B, {}, {}, {}, {}]", clip[0], clip[1], clip[2], clip[3]);
        let (x, t, y) = (tensor("x", &wanted)?, tensor("t", "t [B]")?, tensor("y", "y [B]")?);
        let b = match x.shape {
            [b, rest @ ..] if rest == clip && *b > 0 => *b,
            got => return Err(wrong(format!("x is {got:?}; wanted {wanted}, B at least 1"))),
        };
        for (name, got) in [("t", t.shape), ("y", y.shape)] {
            if got != [b] {
                return Err(wrong(format!("{name} is {got:?}; wanted [{b}], one for each clip of x")));
            }
        }
        let float = |name: &str, view| {
            let floats = floats(view);
            let floats =
                floats.map_err(|d| wrong(format!("{name} is {d:?}; wanted F32, F16, BF16 or F64")))?;
            match floats.iter().position(|x| !x.is_finite()) {
                Some(at) => {
                    Err(wrong(format!("{name}: element {at} is {}; wanted finite numbers", floats[at])))
                }
                None => Ok(floats),
            }
        };
        let labels = integers(&y).map_err(|d| wrong(format!("y is {d:?}; wanted integers")))?;
        let class = |&y: &i128| match usize::try_from(y) {
            Ok(class) if class <= c.classes => Ok(class),
            _ if c.classes == 0 => Err(wrong(format!("y has {y}; wanted 0: the model has no classes"))),
            _ => Err(wrong(format!("y has {y}; wanted 0 to {}, or {} for none", c.classes - 1, c.classes))),
        };
        Ok(Inputs {
            x: float("x", &x)?,
            t: float("t", &t)?,
            y: labels.iter().map(class).collect::<Result<_>>()?,
        })
    }
}

/// A tensor as it is stored.
struct Stored<'f> {
    dtype: Dtype,
    shape: &'f [usize],
    data: Cow<'f, [u8]>,
}

/// The dtype is the error.
fn floats(view: &Stored<'_>) -> Result<Vec<f32>, Dtype> {
    let data = &view.data[..];
    Ok(match view.dtype {
        Dtype::F32 => read(data, f32::from_le_bytes),
        Dtype::F64 => read(data, |x| f64::from_le_bytes(x) as f32),
        Dtype::F16 => read(data, |x| f16::from_le_bytes(x).to_f32()),
        Dtype::BF16 => read(data, |x| bf16::from_le_bytes(x).to_f32()),
        other => return Err(other),
    })
}

fn integers(view: &Stored<'_>) -> Result<Vec<i128>, Dtype> {
    let data = &view.data[..];
    Ok(match view.dtype {
        Dtype::I64 => read(data, |x| i64::from_le_bytes(x).into()),
        Dtype::I32 => read(data, |x| i32::from_le_bytes(x).into()),
        Dtype::I16 => read(data, |x| i16::from_le_bytes(x).into()),
        Dtype::I8 => read(data, |x| i8::from_le_bytes(x).into()),
        Dtype::U64 => read(data, |x| u64::from_le_bytes(x).into()),
        Dtype::U32 => read(data, |x| u32::from_le_bytes(x).into()),
        Dtype::U16 => read(data, |x| u16::from_le_bytes(x).into()),
        Dtype::U8 => read(data, |x| u8::from_le_bytes(x).into()),
        other => return Err(other),
    })
}

fn read<const N: usize, T>(data: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks().0.iter().map(|x| value(*x)).collect()
}
