// out = epilogue(x · wᵀ + bias), where neighbours pass rows of x from register to register.
#include "common/linear_operands.wgsl"
#include "subgroup/matmul.wgsl"
