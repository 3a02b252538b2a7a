//! Tensors: shape, dtype, device, one contiguous buffer. No views, no strides, no broadcasting.

use std::fmt;

use half::{bf16, f16};

use crate::device::{Device, Layout, Storage};
use crate::{Error, Result, memory};

/// The element types a tensor can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision: the residual stream, statistics, modulation.
    F32,
    /// IEEE half precision: storage of matrix operands.
    F16,
    /// bfloat16: storage of matrix operands.
    BF16,
    /// Labels and flags.
    U32,
}

impl DType {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
        }
    }

    /// Little-endian bytes of this type as f32. The error names `what` they are.
    pub(crate) fn to_f32(self, bytes: &[u8], what: &(impl fmt::Display + ?Sized)) -> Result<Vec<f32>> {
        let mut all = memory::with_capacity(bytes.len() / self.size(), what)?;
        self.append_f32(bytes, &mut all);
        Ok(all)
    }

    /// Adds little-endian bytes of this type as f32 to `all`.
    pub(crate) fn append_f32(self, bytes: &[u8], all: &mut Vec<f32>) {
        let (halves, fulls) = (bytes.as_chunks().0.iter(), bytes.as_chunks().0.iter());
        let half = |x: &[u8; 2]| u16::from_le_bytes(*x);
        match self {
            DType::F32 => all.extend(fulls.map(|x| f32::from_le_bytes(*x))),
            DType::U32 => all.extend(fulls.map(|x| u32::from_le_bytes(*x) as f32)),
            DType::F16 => all.extend(halves.map(|x| f16::from_bits(half(x)).to_f32())),
            DType::BF16 => all.extend(halves.map(|x| bf16::from_bits(half(x)).to_f32())),
        }
    }

    /// Hands `to` the bytes of `data`, rounded to this type.
    fn narrowed(self, data: &[f32], what: &str, to: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            DType::F32 => to(bytemuck::cast_slice(data)),
            DType::F16 => {
                to(bytemuck::cast_slice(&memory::collected(data.iter().map(|&x| f16::from_f32(x)), what)?))
            }
            DType::BF16 => {
                to(bytemuck::cast_slice(&memory::collected(data.iter().map(|&x| bf16::from_f32(x)), what)?))
            }
            DType::U32 => Err(Error::argument("write_f32", "self", "a float tensor", "u32")),
        }
    }

    /// The largest number of this type.
    pub const fn largest(self) -> f64 {
        match self {
            DType::F32 => f32::MAX as f64,
            DType::F16 => f16::MAX.to_f64_const(),
            DType::BF16 => bf16::MAX.to_f64_const(),
            DType::U32 => u32::MAX as f64,
        }
    }

    /// Whether `x`, rounded to this type, is a number: not NaN, and not beyond the largest.
    pub fn holds(self, x: f32) -> bool {
        match self {
            DType::F32 => x.is_finite(),
            DType::F16 => f16::from_f32(x).is_finite(),
            DType::BF16 => bf16::from_f32(x).is_finite(),
            DType::U32 => x >= 0.0 && f64::from(x) <= self.largest(),
        }
    }

    /// Fails with [`Error::NotFinite`] where one of the values of `what`, which were computed from operands of this type,
    /// is NaN or infinite.
    pub fn check_finite(self, what: &str, values: &[f32]) -> Result<()> {
        let spoilt = values.iter().filter(|x| !x.is_finite()).count();
        if spoilt == 0 {
            return Ok(());
        }
        let wanted = match self {
            DType::F16 => "wanted bf16 or f32",
            _ => "wanted smaller inputs, or other weights",
        };
        let largest = match self {
            DType::F16 => self.largest().to_string(),
            _ => format!("{:.1e}", self.largest()),
        };
        let all = values.len();
        let why = format!(
            "{spoilt} of {all} values are not finite: somewhere a number went beyond {largest}, the largest of {self}; \
             {wanted}"
        );
        Err(Error::NotFinite { what: what.into(), why })
    }

    /// `f32`, `f16`, `bf16` or `u32`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::U32 => "u32",
        }
    }
}

impl serde::Serialize for DType {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for DType {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        [DType::F32, DType::F16, DType::BF16]
            .into_iter()
            .find(|d| d.name() == s)
            .ok_or_else(|| Error::setting(format!("dtype `{s}`"), "f32, f16 or bf16"))
    }
}

/// Up to five dimensions, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: usize,
    dims: [usize; Self::MAX_RANK],
}

impl Shape {
    /// [B, F, C, H, W] is the widest tensor there is.
    pub const MAX_RANK: usize = 5;

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// The product of the dimensions; `None` where it does not fit.
    pub fn elements(&self) -> Option<usize> {
        self.dims().iter().try_fold(1usize, |n, &d| n.checked_mul(d))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(d: [usize; N]) -> Self {
        const { assert!(N <= Shape::MAX_RANK) };
        let mut dims = [1; Self::MAX_RANK];
        dims[..N].copy_from_slice(&d);
        Shape { rank: N, dims }
    }
}

impl TryFrom<&[usize]> for Shape {
    type Error = Error;
    fn try_from(d: &[usize]) -> Result<Self> {
        if d.len() > Self::MAX_RANK {
            return Err(Error::setting(format!("shape {d:?}"), "at most 5 dimensions"));
        }
        let mut dims = [1; Self::MAX_RANK];
        dims[..d.len()].copy_from_slice(d);
        Ok(Shape { rank: d.len(), dims })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

/// A contiguous array on a device. Made once, written by ops, never resized.
pub struct Tensor {
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    pub(crate) storage: Storage,
    /// Bytes behind the elements that belong to nobody; see [`Tensor::guarded`].
    pub(crate) guard: usize,
    /// How its rows stand in memory; no reader sees it.
    pub(crate) layout: Layout,
}

/// What guard bytes and unwritten elements hold: NaN in every float type.
pub(crate) const POISON: u8 = 0xff;

impl Tensor {
    pub(crate) fn new(device: &Device, dtype: DType, shape: Shape, guard: usize) -> Result<Tensor> {
        // Kernels count in u32, in every language, and the last threads count past the end before they look.
        let elements = shape.elements().filter(|&n| n <= 1 << 31);
        let Some(bytes) = elements.and_then(|n| n.checked_mul(dtype.size())) else {
            let why = format!("{dtype} {shape}: tensors have at most 2^31 elements");
            return Err(Error::device(device.name(), why));
        };
        let storage = device.alloc(bytes + guard)?;
        Ok(Tensor { shape, dtype, device: device.clone(), storage, guard, layout: Layout::Rows })
    }
    /// A tensor of zeros.
    pub fn zeros(device: &Device, dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::new(device, dtype, shape.into(), 0)
    }

    /// A tensor full of NaN, with 1 KiB of the same behind it that no kernel may touch: what tests of kernels write to.
    pub fn guarded(device: &Device, dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
        let mut t = Tensor::new(device, dtype, shape.into(), 1024)?;
        let poison = memory::filled(t.bytes() + t.guard, POISON, "poison")?;
        device.upload(&mut t, 0, &poison)?;
        Ok(t)
    }

    /// Whether anything was written behind a [`guarded`](Self::guarded) tensor. Waits for the device.
    pub async fn overrun(&self) -> Result<bool> {
        let all = self.device.read(&[(self, self.bytes() + self.guard)]).await?;
        Ok(all[0][self.bytes()..].iter().any(|&b| b != POISON))
    }

    /// A tensor of `dtype` holding `data`, rounded to nearest where `dtype` is narrower than f32.
    pub fn from_f32(device: &Device, dtype: DType, shape: impl Into<Shape>, data: &[f32]) -> Result<Tensor> {
        let mut t = Tensor::zeros(device, dtype, shape)?;
        t.write_f32(data)?;
        Ok(t)
    }

    /// A tensor of labels.
    pub fn from_u32(device: &Device, shape: impl Into<Shape>, data: &[u32]) -> Result<Tensor> {
        let mut t = Tensor::zeros(device, DType::U32, shape)?;
        t.write(bytemuck::cast_slice(data))?;
        Ok(t)
    }

    /// Overwrites the tensor with `data`, rounded to its dtype.
    pub fn write_f32(&mut self, data: &[f32]) -> Result<()> {
        let what = format!("the values of a tensor {self:?}");
        self.dtype.narrowed(data, &what, |bytes| self.write(bytes))
    }

    /// The same matrix, [n, ..], arranged in its place as products with it go fastest on its device. Weights of a model are
    /// arranged once, as they are loaded; ops that have no product, or a kernel of somebody's, are given its rows.
    ///
    /// Only the CPU arranges anything, and only where n is a multiple of 16.
    pub fn for_products(mut self) -> Tensor {
        self.arrange();
        self
    }

    pub(crate) fn arrange(&mut self) {
        self.device.clone().arrange(self);
    }

    /// Overwrites the tensor with raw little-endian bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.bytes() {
            return Err(Error::argument(
                "write",
                "bytes",
                format!("{} bytes for {self:?}", self.bytes()),
                bytes.len(),
            ));
        }
        self.layout = Layout::Rows;
        self.device.clone().upload(self, 0, bytes)
    }

    /// Overwrites elements from the `from`-th on with `data`, rounded to the tensor's dtype. `from` is even, so that it
    /// begins a word.
    pub(crate) fn write_part(&mut self, from: usize, data: &[f32]) -> Result<()> {
        let end = from.checked_add(data.len()).filter(|&end| end <= self.elements());
        let (Some(_), true, Layout::Rows) = (end, from.is_multiple_of(2), self.layout) else {
            let wanted = format!("an even place in {self:?} for {} values", data.len());
            return Err(Error::argument("write_part", "from", wanted, from));
        };
        let (device, at) = (self.device.clone(), from * self.dtype.size());
        let what = format!("the values of a tensor {self:?}");
        self.dtype.narrowed(data, &what, |bytes| device.upload(self, at, bytes))
    }

    /// The tensor's values as f32. Waits for the device.
    pub async fn read_f32(&self) -> Result<Vec<f32>> {
        self.dtype.to_f32(&self.read().await?, &format_args!("the values of a tensor {self:?}"))
    }

    /// The tensor's bytes. Waits for the device.
    pub async fn read(&self) -> Result<Vec<u8>> {
        let mut all = self.device.read(&[(self, self.bytes())]).await?;
        Ok(all.swap_remove(0))
    }

    /// The dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device it lives on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The same elements in another shape.
    pub(crate) fn reshaped(mut self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.elements() != Some(self.elements()) {
            return Err(Error::argument("reshaped", "shape", format!("{} elements", self.elements()), shape));
        }
        self.shape = shape;
        Ok(self)
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        // `alloc` refused shapes whose product overflows.
        self.shape.dims().iter().product()
    }

    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }

    /// The dimensions as an array, or an error naming the op and its argument.
    pub fn dims<const N: usize>(&self, op: &'static str, arg: &'static str) -> Result<[usize; N]> {
        self.shape
            .dims()
            .try_into()
            .map_err(|_| Error::argument(op, arg, format!("{N} dimensions"), format!("{self:?}")))
    }

    /// Checks shape and dtype, naming the op and its argument in the error.
    pub fn expect(
        &self,
        op: &'static str,
        arg: &'static str,
        dtype: DType,
        shape: impl Into<Shape>,
    ) -> Result<()> {
        let shape = shape.into();
        if self.dtype == dtype && self.shape == shape {
            return Ok(());
        }
        Err(Error::argument(op, arg, format!("{dtype} {shape}"), format!("{self:?}")))
    }

    /// Checks that the dtype is one of the three float types and returns it.
    pub fn float(&self, op: &'static str, arg: &'static str) -> Result<DType> {
        match self.dtype {
            DType::U32 => Err(Error::argument(op, arg, "f32, f16 or bf16", "u32")),
            float => Ok(float),
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests;
