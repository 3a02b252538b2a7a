use super::*;
use crate::device::Gate;
use crate::ops::axpby;

#[test]
fn an_arranged_matrix_is_the_same_to_its_readers() {
    let device = Device::cpu();
    let data: Vec<f32> = (0..48 * 6).map(|i| i as f32).collect();
    let plain = |dtype| Tensor::from_f32(&device, dtype, [48, 6], &data).unwrap();
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let arranged = plain(dtype).for_products();
        assert_ne!(arranged.layout, Layout::Rows);
        let read = |t: &Tensor| pollster::block_on(t.read_f32()).unwrap();
        assert_eq!(read(&arranged), read(&plain(dtype)));
    }
    // An op reads and writes it as what it is.
    let (one, mut to) = (plain(DType::F32).for_products(), plain(DType::F32).for_products());
    axpby(Gate::Open, &mut to, (1.0, None), (2.0, &one)).unwrap();
    let want: Vec<f32> = data.iter().map(|x| 3.0 * x).collect();
    assert_eq!(pollster::block_on(to.read_f32()).unwrap(), want);
}

#[test]
fn tensors_without_rows_are_left_as_they_are() {
    let device = Device::cpu();
    for shape in [&[][..], &[16, 0], &[0, 16], &[7]] {
        let shape: Shape = shape.try_into().unwrap();
        let t = Tensor::zeros(&device, DType::F32, shape).unwrap().for_products();
        assert_eq!(pollster::block_on(t.read_f32()).unwrap().len(), shape.elements().unwrap());
    }
}
