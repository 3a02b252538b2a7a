//! Python's pickles, as far as PyTorch's files of weights need them: dictionaries of tensors.
//!
//! A pickle is a program. This machine runs its instructions, and knows no function but the few that tensors are made of:
//! [`GLOBALS`]. Anything else that a pickle asks for is an error, and nothing of it is ever run.

use std::collections::HashMap;

use safetensors::Dtype;

/// A tensor as the pickle has it: a part of a storage, which is an entry of the archive.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    /// Keys of the dictionaries that it is in, with dots between.
    pub name: String,
    pub dtype: Dtype,
    /// The number of its storage.
    pub key: String,
    /// Elements of the storage before it.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// What a name in a pickle may stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Global {
    Tensor,
    Parameter,
    Dictionary,
    Storage(Dtype),
    /// Something that training leaves beside the weights. It is neither made nor looked at.
    Unused,
}

/// Every name that is known.
const GLOBALS: [(&str, Global); 15] = [
    ("torch._utils._rebuild_tensor_v2", Global::Tensor),
    ("torch._utils._rebuild_parameter", Global::Parameter),
    ("collections.OrderedDict", Global::Dictionary),
    ("torch.FloatStorage", Global::Storage(Dtype::F32)),
    ("torch.HalfStorage", Global::Storage(Dtype::F16)),
    ("torch.BFloat16Storage", Global::Storage(Dtype::BF16)),
    ("torch.DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch.LongStorage", Global::Storage(Dtype::I64)),
    ("torch.IntStorage", Global::Storage(Dtype::I32)),
    ("torch.ShortStorage", Global::Storage(Dtype::I16)),
    ("torch.CharStorage", Global::Storage(Dtype::I8)),
    ("torch.ByteStorage", Global::Storage(Dtype::U8)),
    ("torch.BoolStorage", Global::Storage(Dtype::BOOL)),
    ("torch.Size", Global::Unused),
    ("argparse.Namespace", Global::Unused),
];

/// A value. It has others by their numbers, so that no depth of them needs a deep stack.
#[derive(Debug)]
enum Value {
    Integer(i64),
    Text(String),
    Tuple(Vec<usize>),
    Dictionary(Vec<(usize, usize)>),
    Global(Global),
    Storage(Dtype, String),
    Tensor(Dtype, String, usize, Vec<usize>, Vec<usize>),
    /// None, a number, a list: nothing that a tensor is made of.
    Other,
}

/// How deep dictionaries are within each other in files of weights, at most, and how much is in them.
const DEEPEST: usize = 8;
const MOST: usize = 1_000_000;
/// All names together, in bytes.
const LONGEST: usize = 100_000_000;

struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<usize>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, usize>,
}

/// The tensors of a pickle. The error is what is wrong with it.
pub(super) fn tensors(pickle: &[u8]) -> Result<Vec<Stored>, String> {
    let mut machine =
        Machine { rest: pickle, values: vec![], stack: vec![], marks: vec![], memo: HashMap::new() };
    let root = machine.run()?;
    machine.collect(root)
}

type Step<T> = Result<T, String>;

fn broken<T>() -> Step<T> {
    Err("a pickle that is not whole".into())
}

impl Machine<'_> {
    fn bytes(&mut self, n: usize) -> Step<&[u8]> {
        match self.rest.split_at_checked(n) {
            Some((now, rest)) => {
                self.rest = rest;
                Ok(now)
            }
            None => broken(),
        }
    }

    /// An unsigned number of `n` bytes, 8 at most.
    fn number(&mut self, n: usize) -> Step<u64> {
        let mut all = [0; 8];
        all[..n].copy_from_slice(self.bytes(n)?);
        Ok(u64::from_le_bytes(all))
    }

    fn line(&mut self) -> Step<String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = String::from_utf8_lossy(self.bytes(end.map_or(usize::MAX, |end| end + 1))?);
        Ok(line.trim_end().into())
    }

    fn text(&mut self, n: u64) -> Step<()> {
        let text =
            String::from_utf8_lossy(self.bytes(usize::try_from(n).unwrap_or(usize::MAX))?).into_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    fn pop(&mut self) -> Step<usize> {
        // What is below a mark is not there for those above.
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().map_or_else(broken, Ok),
            false => broken(),
        }
    }

    /// All above the last mark.
    fn marked(&mut self) -> Step<Vec<usize>> {
        let mark = self.marks.pop().map_or_else(broken, Ok)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, n: usize) -> Step<()> {
        let mut all = vec![];
        for _ in 0..n {
            all.insert(0, self.pop()?);
        }
        self.push(Value::Tuple(all));
        Ok(())
    }

    /// Puts pairs of key and value into the dictionary that is on top.
    fn set(&mut self, pairs: &[usize]) -> Step<()> {
        let Some(&top) = self.stack.last() else { return broken() };
        if let Value::Dictionary(all) = &mut self.values[top] {
            all.extend(pairs.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let whole = format!("{module}.{name}");
        match GLOBALS.iter().find(|(known, _)| *known == whole) {
            Some((_, global)) => {
                self.push(Value::Global(*global));
                Ok(())
            }
            None => Err(format!("a pickle that asks for {whole:?}, which is no tensor and is never run")),
        }
    }

    fn run(&mut self) -> Step<usize> {
        loop {
            let &[instruction] = self.bytes(1)? else { return broken() };
            match instruction {
                // PROTO and FRAME: of these the values do not depend.
                0x80 => drop(self.number(1)?),
                0x95 => drop(self.number(8)?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                // NONE, NEWTRUE, NEWFALSE, BINFLOAT, EMPTY_LIST.
                b'N' | 0x88 | 0x89 | b']' => self.push(Value::Other),
                b'G' => {
                    self.bytes(8)?;
                    self.push(Value::Other);
                }
                b'K' | b'M' | b'J' => {
                    let n = self.number(match instruction {
                        b'K' => 1,
                        b'M' => 2,
                        _ => 4,
                    })?;
                    // BININT alone has a sign.
                    self.push(Value::Integer(if instruction == b'J' {
                        (n as u32 as i32).into()
                    } else {
                        n as i64
                    }));
                }
                0x8a => {
                    let n = self.number(1)? as usize;
                    if n > 8 {
                        return Err("a pickle that has a number of more than 64 bits".into());
                    }
                    let bits = 64 - 8 * n as u32;
                    let number = self.number(n)?;
                    self.push(Value::Integer(if n == 0 { 0 } else { (number << bits) as i64 >> bits }));
                }
                b'X' => {
                    let n = self.number(4)?;
                    self.text(n)?;
                }
                0x8c => {
                    let n = self.number(1)?;
                    self.text(n)?;
                }
                0x8d => {
                    let n = self.number(8)?;
                    self.text(n)?;
                }
                b')' => self.push(Value::Tuple(vec![])),
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let all = self.marked()?;
                    self.push(Value::Tuple(all));
                }
                b'l' => {
                    self.marked()?;
                    self.push(Value::Other);
                }
                b'}' => self.push(Value::Dictionary(vec![])),
                b'd' => {
                    let pairs = self.marked()?;
                    self.push(Value::Dictionary(vec![]));
                    self.set(&pairs)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let pairs = self.marked()?;
                    self.set(&pairs)?;
                }
                // APPEND, APPENDS: lists are of no use.
                b'a' => drop(self.pop()?),
                b'e' => drop(self.marked()?),
                b'q' | b'r' | 0x94 => {
                    let at = match instruction {
                        b'q' => self.number(1)?,
                        b'r' => self.number(4)?,
                        _ => self.memo.len() as u64,
                    };
                    let Some(&top) = self.stack.last() else { return broken() };
                    self.memo.insert(at, top);
                }
                b'h' | b'j' => {
                    let at = self.number(if instruction == b'h' { 1 } else { 4 })?;
                    let Some(&value) = self.memo.get(&at) else { return broken() };
                    self.stack.push(value);
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(name), Value::Text(module)) = (&self.values[name], &self.values[module])
                    else {
                        return broken();
                    };
                    let (name, module) = (name.clone(), module.clone());
                    self.global(&module, &name)?;
                }
                b'Q' => {
                    let storage = self.pop()?;
                    let storage = self.storage(storage)?;
                    self.push(storage);
                }
                // REDUCE, NEWOBJ: a function and its arguments.
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let made = self.call(function, arguments)?;
                    self.push(made);
                }
                // BUILD: what an object has beside, such as an OrderedDict's `_metadata`.
                b'b' => drop(self.pop()?),
                other => {
                    return Err(format!(
                        "a pickle with the instruction {other:#04x}, which weights do not need"
                    ));
                }
            }
        }
    }

    fn tuple_of(&self, at: usize) -> Option<&[usize]> {
        match &self.values[at] {
            Value::Tuple(all) => Some(all),
            _ => None,
        }
    }

    /// Sizes or strides.
    fn sizes(&self, at: usize) -> Option<Vec<usize>> {
        let size = |&at: &usize| match self.values[at] {
            Value::Integer(n) => usize::try_from(n).ok(),
            _ => None,
        };
        self.tuple_of(at)?.iter().map(size).collect()
    }

    /// ("storage", type, key, device, elements).
    fn storage(&self, at: usize) -> Step<Value> {
        let made = match self.tuple_of(at) {
            Some(&[_, kind, key, ..]) => match (&self.values[kind], &self.values[key]) {
                (Value::Global(Global::Storage(dtype)), Value::Text(key)) => {
                    Some(Value::Storage(*dtype, key.clone()))
                }
                _ => None,
            },
            _ => None,
        };
        made.ok_or_else(|| "a pickle that asks for something outside that is no storage".into())
    }

    fn call(&self, function: usize, arguments: usize) -> Step<Value> {
        let Value::Global(function) = self.values[function] else { return broken() };
        let arguments = self.tuple_of(arguments).map_or_else(broken, Ok)?;
        let made = match (function, arguments) {
            (Global::Tensor, &[storage, offset, shape, strides, ..]) => {
                let (Value::Storage(dtype, key), Value::Integer(offset)) =
                    (&self.values[storage], &self.values[offset])
                else {
                    return broken();
                };
                let offset = usize::try_from(*offset).ok();
                offset.zip(self.sizes(shape).zip(self.sizes(strides))).map(|(offset, (shape, strides))| {
                    Value::Tensor(*dtype, key.clone(), offset, shape, strides)
                })
            }
            (Global::Parameter, &[tensor, ..]) => match &self.values[tensor] {
                Value::Tensor(dtype, key, offset, shape, strides) => {
                    Some(Value::Tensor(*dtype, key.clone(), *offset, shape.clone(), strides.clone()))
                }
                _ => None,
            },
            (Global::Dictionary, &[]) => Some(Value::Dictionary(vec![])),
            (Global::Unused, _) => Some(Value::Other),
            _ => None,
        };
        made.map_or_else(broken, Ok)
    }

    /// The tensors of dictionaries within dictionaries.
    fn collect(&self, root: usize) -> Step<Vec<Stored>> {
        let mut found = vec![];
        let mut left = vec![(root, String::new(), 0)];
        let (mut seen, mut letters) = (0, 0);
        while let Some((at, prefix, depth)) = left.pop() {
            let Value::Dictionary(pairs) = &self.values[at] else { continue };
            for &(key, value) in pairs {
                seen += 1;
                if seen > MOST || depth > DEEPEST {
                    return Err("a pickle of more dictionaries than files of weights have".into());
                }
                let key = match &self.values[key] {
                    Value::Text(text) => text.clone(),
                    Value::Integer(n) => n.to_string(),
                    _ => continue,
                };
                letters += prefix.len() + key.len();
                if letters > LONGEST {
                    return Err("a pickle of longer names than files of weights have".into());
                }
                let name = format!("{prefix}{key}");
                match &self.values[value] {
                    Value::Tensor(dtype, key, offset, shape, strides) => found.push(Stored {
                        name,
                        dtype: *dtype,
                        key: key.clone(),
                        offset: *offset,
                        shape: shape.clone(),
                        strides: strides.clone(),
                    }),
                    Value::Dictionary(_) => left.push((value, name + ".", depth + 1)),
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `pickle.dumps` makes of a call of `os.system`, in the protocols 0 to 4: nothing of it is run.
    #[test]
    fn nothing_but_tensors_is_made() {
        for pickle in [
            &b"cos\nsystem\n(Vtouch /tmp/x\ntR."[..],
            b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.",
            b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
            b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
        ] {
            let said = tensors(pickle).unwrap_err();
            assert!(said.starts_with("a pickle that asks for \""), "{said}");
        }
        // INST, which makes an object without a REDUCE.
        assert!(tensors(b"(ios\nsystem\n.").unwrap_err().contains("instruction 0x69"));
        // EXT1: functions by number.
        assert!(tensors(b"\x82\x01.").unwrap_err().contains("instruction 0x82"));
        // A storage is no function, and a function no storage.
        assert!(tensors(b"ctorch\nFloatStorage\n)R.").is_err());
        assert!(
            tensors(b"(X\x01\x00\x00\x00sctorch._utils\n_rebuild_tensor_v2\nX\x01\x00\x00\x000tQ.").is_err()
        );
    }

    #[test]
    fn what_is_not_whole_or_without_end_is_refused() {
        for pickle in
            [&b""[..], b"}", b".", b"u.", b"h\x00.", b"\x85.", b"(t(", b"X\xff\xff\xff\xff.", b"}(s."]
        {
            assert!(tensors(pickle).is_err(), "{pickle:?}");
        }
        // A dictionary that has itself, and dictionaries that have one another twice, 60 deep.
        let itself = b"}q\x00X\x01\x00\x00\x00ah\x00s.";
        assert!(tensors(itself).unwrap_err().contains("more dictionaries"));
        let mut twice = b"}q\x00".to_vec();
        for i in 0..60u8 {
            twice.extend(
                [
                    b"}q".as_slice(),
                    &[i + 1],
                    b"X\x01\x00\x00\x00ah",
                    &[i],
                    b"sX\x01\x00\x00\x00bh",
                    &[i],
                    b"s",
                ]
                .concat(),
            );
        }
        twice.push(b'.');
        assert!(tensors(&twice).unwrap_err().contains("more dictionaries"));
        // Ten million tuples in one another end without a deep stack.
        let mut deep = b")".to_vec();
        deep.extend(vec![0x85; 1_000_000]);
        deep.push(b'.');
        assert_eq!(tensors(&deep), Ok(vec![]));
    }

    #[test]
    fn numbers_have_their_signs() {
        let number = |pickle: &[u8]| {
            let mut machine =
                Machine { rest: pickle, values: vec![], stack: vec![], marks: vec![], memo: HashMap::new() };
            let at = machine.run().unwrap();
            match machine.values[at] {
                Value::Integer(n) => n,
                _ => panic!("no number"),
            }
        };
        for (pickle, n) in [
            (&b"K\xff."[..], 255),
            (b"M\xff\xff.", 65535),
            (b"J\xff\xff\xff\xff.", -1),
            (b"\x8a\x00.", 0),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x05\x00\x00\x00\x00\x01.", 1 << 32),
            (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", i64::MAX),
        ] {
            assert_eq!(number(pickle), n, "{pickle:?}");
        }
    }
}
