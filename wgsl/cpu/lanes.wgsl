// A workgroup is one vector register.
const WG = LANES;
const WIDTH = LANES;
