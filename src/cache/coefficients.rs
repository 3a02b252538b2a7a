//! Published coefficients of TeaCache's rescaling polynomial.
//!
//! They were fitted per model on (distance of the modulated input, distance of the output) pairs of consecutive
//! steps (arXiv 2411.19108), and hold for that model, that measure and the fitted range alone.

/// The coefficients of one model, and who published them.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// The model, as `tea:δ:NAME` names it.
    pub name: &'static str,
    /// c4, c3, c2, c1, c0: highest power first.
    pub coefficients: [f64; 5],
    /// Where they were published.
    pub source: &'static str,
}

/// f(d) = d: distances count as they are.
pub const IDENTITY: [f64; 5] = [0.0, 0.0, 0.0, 1.0, 0.0];

/// The set of that name.
pub fn find(name: &str) -> Option<&'static Set> {
    SETS.iter().find(|set| set.name == name)
}

const fn set(name: &'static str, source: &'static str, coefficients: [f64; 5]) -> Set {
    Set { name, coefficients, source }
}

/// Every set known here. The official ones come first, then those of other projects.
///
/// `-ret` marks the sets of Wan 2.1 that go with five retained steps and measure the time projection.
#[rustfmt::skip]
pub static SETS: &[Set] = &[
    set("open-sora-1.2", "github.com/ali-vilab/TeaCache, eval/teacache/experiments/opensora.py",
        [2.17546007e+02, -1.18329252e+02, 2.68662585e+01, -4.59364272e-02, 4.84426240e-02]),
    set("latte-1", "github.com/ali-vilab/TeaCache, eval/teacache/experiments/latte.py",
        [-2.46434137e+03, 3.08044764e+02, 8.07447667e+01, -4.11385132e+00, 1.11001402e-01]),
    set("open-sora-plan-1.1", "github.com/ali-vilab/TeaCache, eval/teacache/experiments/opensora_plan.py",
        [2.05943668e+05, -1.48759286e+04, 3.06085986e+02, 1.31418080e+00, 2.39658469e-03]),
    set("cogvideox-2b", "github.com/ali-vilab/TeaCache, eval/teacache/experiments/cogvideox.py",
        [-3.10658903e+01, 2.54732368e+01, -5.92380459e+00, 1.75769064e+00, -3.61568434e-03]),
    set("cogvideox-5b", "github.com/ali-vilab/TeaCache, eval/teacache/experiments/cogvideox.py",
        [-1.53880483e+03, 8.43202495e+02, -1.34363087e+02, 7.97131516e+00, -5.23162339e-02]),
    set("cogvideox-5b-i2v", "github.com/ali-vilab/TeaCache, TeaCache4CogVideoX1.5",
        [-1.53880483e+03, 8.43202495e+02, -1.34363087e+02, 7.97131516e+00, -5.23162339e-02]),
    set("consisid", "github.com/ali-vilab/TeaCache, TeaCache4ConsisID",
        [-1.53880483e+03, 8.43202495e+02, -1.34363087e+02, 7.97131516e+00, -5.23162339e-02]),
    set("cogvideox1.5-5b", "github.com/ali-vilab/TeaCache, TeaCache4CogVideoX1.5",
        [2.50210439e+02, -1.65061612e+02, 3.57804877e+01, -7.81551492e-01, 3.58559703e-02]),
    set("cogvideox1.5-5b-i2v", "github.com/ali-vilab/TeaCache, TeaCache4CogVideoX1.5",
        [1.22842302e+02, -1.04088754e+02, 2.62981677e+01, -3.06009921e-01, 3.71213220e-02]),
    set("hunyuan-video", "github.com/ali-vilab/TeaCache, TeaCache4HunyuanVideo",
        [7.33226126e+02, -4.01131952e+02, 6.75869174e+01, -3.14987800e+00, 9.61237896e-02]),
    set("ltx-video-0.9.1", "github.com/ali-vilab/TeaCache, TeaCache4LTX-Video",
        [2.14700694e+01, -1.28016453e+01, 2.31279151e+00, 7.92487521e-01, 9.69274326e-03]),
    set("mochi-1", "github.com/ali-vilab/TeaCache, TeaCache4Mochi",
        [-3.51241319e+03, 8.11675948e+02, -6.09400215e+01, 2.42429681e+00, 3.05291719e-03]),
    set("cosmos-1.0-7b", "github.com/ali-vilab/TeaCache, TeaCache4Cosmos",
        [2.71156237e+02, -9.19775607e+01, 2.24437250e+00, 2.08355751e+00, 1.41776330e-01]),
    set("wan2.1-t2v-1.3b", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1",
        [2.39676752e+03, -1.31110545e+03, 2.01331979e+02, -8.29855975e+00, 1.37887774e-01]),
    set("wan2.1-t2v-14b", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1",
        [-5784.54975374, 5449.50911966, -1811.16591783, 256.27178429, -13.02252404]),
    set("wan2.1-i2v-480p", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1",
        [-3.02331670e+02, 2.23948934e+02, -5.25463970e+01, 5.87348440e+00, -2.01973289e-01]),
    set("wan2.1-i2v-720p", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1",
        [-114.36346466, 65.26524496, -18.82220707, 4.91518089, -0.23412683]),
    set("wan2.1-t2v-1.3b-ret", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1, --use_ret_steps",
        [-5.21862437e+04, 9.23041404e+03, -5.28275948e+02, 1.36987616e+01, -4.99875664e-02]),
    set("wan2.1-t2v-14b-ret", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1, --use_ret_steps",
        [-3.03318725e+05, 4.90537029e+04, -2.65530556e+03, 5.87365115e+01, -3.15583525e-01]),
    set("wan2.1-i2v-480p-ret", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1, --use_ret_steps",
        [2.57151496e+05, -3.54229917e+04, 1.40286849e+03, -1.35890334e+01, 1.32517977e-01]),
    set("wan2.1-i2v-720p-ret", "github.com/ali-vilab/TeaCache, TeaCache4Wan2.1, --use_ret_steps",
        [8.10705460e+03, 2.13393892e+03, -3.72934672e+02, 1.66203073e+01, -4.17769401e-02]),
    set("flux-1-dev", "github.com/ali-vilab/TeaCache, TeaCache4FLUX",
        [4.98651651e+02, -2.83781631e+02, 5.58554382e+01, -3.82021401e+00, 2.64230861e-01]),
    set("tango-flux", "github.com/ali-vilab/TeaCache, TeaCache4TangoFlux",
        [4.98651651e+02, -2.83781631e+02, 5.58554382e+01, -3.82021401e+00, 2.64230861e-01]),
    set("lumina-next", "github.com/ali-vilab/TeaCache, TeaCache4Lumina-T2X",
        [393.76566581, -603.50993606, 209.10239044, -23.00726601, 0.86377344]),
    set("lumina-image-2.0", "github.com/ali-vilab/TeaCache, TeaCache4Lumina2, v1",
        [393.76566581, -603.50993606, 209.10239044, -23.00726601, 0.86377344]),
    set("lumina-image-2.0-v2", "github.com/ali-vilab/TeaCache, TeaCache4Lumina2, v2",
        [225.7042019806413, -608.8453716535591, 304.1869942338369, 124.21267720116742, -1.4089066892956552]),
    set("hidream-i1-full", "github.com/ali-vilab/TeaCache, TeaCache4HiDream-I1",
        [-3.13605009e+04, -7.12425503e+02, 4.91363285e+01, 8.26515490e+00, 1.08053901e-01]),
    set("hidream-i1-dev", "github.com/welltop-cn/ComfyUI-TeaCache, nodes.py",
        [1.39997273, -4.30130469, 5.01534416, -2.20504164, 0.93942874]),
    set("hidream-i1-fast", "github.com/welltop-cn/ComfyUI-TeaCache, nodes.py",
        [2.26509623, -6.88864563, 7.61123826, -3.10849353, 0.99927602]),
    set("flux-1-kontext", "github.com/welltop-cn/ComfyUI-TeaCache, nodes.py",
        [-1.04655119e+03, 3.12563399e+02, -1.69500694e+01, 4.10995971e-01, 3.74537863e-02]),
    set("lumina-image-2.0-timestep", "github.com/welltop-cn/ComfyUI-TeaCache, nodes.py (timestep alone)",
        [-8.74643948e+02, 4.66059906e+02, -7.51559762e+01, 5.32836175e+00, -3.27258296e-02]),
    set("minimax-h3", "github.com/vllm-project/vllm-omni, pull request 5840 (R² 0.095)",
        [2283.7040658527776, -777.5977277886368, 94.0841474135949, -4.232669906169421, 0.2173782527946167]),
    set("qwen-image-vllm-omni", "github.com/vllm-project/vllm-omni, cache/teacache/config.py",
        [-450.0, 280.0, -45.0, 3.2, -0.02]),
    set("qwen-image", "mlx-teacache 0.14.1, R² 0.849 on d in 0.0468–0.5878",
        [-12.954226906135869, 8.883805167578382, -0.9363839862290331, 1.4538816050570036, 0.0]),
    set("qwen-image-2512", "mlx-teacache 0.14.1, R² 0.818 on d in 0.0809–0.4706",
        [-13.200421839759947, 4.851407025105924, 2.4891133197469846, 0.2453630032662089, 0.0]),
    set("z-image", "mlx-teacache 0.14.1, R² 0.400 on d in 0.0279–0.2591",
        [-898.9907628349583, 367.7086118008557, -45.41511572598643, 3.95114319842774, 0.0]),
    set("flux-1-krea-dev", "mlx-teacache 0.14.1, R² 0.68",
        [24.18037744588824, -45.41912128506917, 26.20213376107934, -3.579234954660995, 0.40140693642366004]),
    set("flux-2-klein-base-4b", "mlx-teacache 0.14.1, R² 0.106 on d in 0.0283–0.2198",
        [-1841.022165607874, 848.4417137572868, -131.3554469956159, 8.179509586828413, 0.0]),
    set("flux-2-klein-base-9b", "mlx-teacache 0.14.1, the set of the 4B model",
        [-1841.022165607874, 848.4417137572868, -131.3554469956159, 8.179509586828413, 0.0]),
    set("flux-2-klein-4b", "mlx-teacache 0.14.1, R² 0.653, distilled, skips nothing at 0.2",
        [236.9190176127698, -201.47401360106662, 66.91354236854073, -11.14796738073235, 1.2674506310647067]),
    set("flux-2-klein-9b", "mlx-teacache 0.14.1, R² 0.471, distilled, skips nothing at 0.2",
        [-523.8412980807129, 530.2492512602308, -177.64385734082498, 20.893264957040557, 0.0]),
];
