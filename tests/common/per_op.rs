// A test for each op of the list, which calls the `test` of the file that includes this with the op's name.
macro_rules! tests {
    ($($op:ident $kernel:ident $dtypes:ident,)*) => {
        $(#[test]
        fn $op() {
            test(stringify!($op));
        })*
    };
}
steep::for_each_op!(tests);
